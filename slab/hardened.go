package slab

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
	mathrand "math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/filler"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// hardened is the state that a heap has on top with Config.Hardened. Each processor has two caches: one of
// slots that were picked at random, to allocate from, and one of freed slots, which go into quarantine
// together.
//
//	        the object, as long as it was asked for
//	       ┌──────────────────────────┬────────┐
//	 live  │                          │ canary │  to the end of the slot, 8 bytes at least
//	       ├──────────────────────────┴────────┤
//	 freed │ poison                            │
//	       └───────────────────────────────────┘
//
//	┌────────────────┬─────────┬────────────────┬─────────┬─ ─
//	│      slab      │  guard  │      slab      │  guard  │     a guard is a unit that faults
//	└────────────────┴─────────┴────────────────┴─────────┴─ ─
type hardened struct {
	secret uint64         // of the canaries
	poison filler.Pattern // random
	sizes  unsafe.Pointer // see meta

	stock, freed percpu.Table[cache]
	withheld     [maxClasses]quarantine // the lock of a class's depot guards its quarantine
}

// canarySize is the minimum of bytes behind an object that are checked.
const canarySize = 8

func openHardened(m *meta) *hardened {
	_ = region.ReportFaults() // without it a fault that ends the program is not reported
	hd := &hardened{sizes: m.sizes.base}
	var secret [8]byte
	rand.Read(secret[:]) // does not fail
	rand.Read(hd.poison[:])
	hd.secret = binary.LittleEndian.Uint64(secret[:])
	return hd
}

// size returns where the heap keeps the size that was asked for, plus 1, for the slot of a state. It is 0 if
// the slot was never handed out.
func (hd *hardened) size(state uint32) *uint32 {
	return (*uint32)(unsafe.Add(hd.sizes, uintptr(state)*4))
}

// canary returns the pattern behind the object at p. It depends on the address, so a canary that is copied
// from elsewhere is found to be wrong.
func (hd *hardened) canary(p unsafe.Pointer) uint64 {
	return (hd.secret ^ uint64(uintptr(p))) * 0x9E3779B97F4A7C15
}

// rotated aligns the pattern for memory from p on, so that each byte depends on its address alone.
func rotated(pattern uint64, p unsafe.Pointer) uint64 {
	return bits.RotateLeft64(pattern, -8*int(uintptr(p)%8))
}

// paint fills b with the pattern.
func paint(b []byte, pattern uint64) {
	pattern = rotated(pattern, unsafe.Pointer(unsafe.SliceData(b)))
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, pattern)
	}
	for i := range b {
		b[i] = byte(pattern >> (8 * i))
	}
}

// changed returns the index of the first byte that is not as paint left it, -1 if there is none.
func changed(b []byte, pattern uint64) int {
	pattern = rotated(pattern, unsafe.Pointer(unsafe.SliceData(b)))
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != pattern {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] != byte(pattern>>(8*(i%8))) {
			return i
		}
	}
	return -1
}

// isShort tells whether paintShort and isPainted take b: it has 8 to 16 bytes.
func isShort(b []byte) bool { return uint(len(b)-8) <= 8 }

// paintShort is paint for 8 to 16 bytes that end at a multiple of 8. It writes two words that overlap, so that
// no branch depends on the length.
func paintShort(b []byte, pattern uint64) {
	binary.LittleEndian.PutUint64(b, rotated(pattern, unsafe.Pointer(unsafe.SliceData(b))))
	binary.LittleEndian.PutUint64(b[len(b)-8:], pattern)
}

// isPainted tells whether b is as paintShort left it.
func isPainted(b []byte, pattern uint64) bool {
	first := binary.LittleEndian.Uint64(b) ^ rotated(pattern, unsafe.Pointer(unsafe.SliceData(b)))
	last := binary.LittleEndian.Uint64(b[len(b)-8:]) ^ pattern
	return first|last == 0
}

var zeroes filler.Pattern

// slot returns the whole slot of an item.
func (h *Heap) slot(c uint8, it item) []byte {
	return unsafe.Slice((*byte)(h.at(it)), classes[c].size)
}

// hardenedClass is alignedClass for an object and its canary.
func hardenedClass(size, align int) (c uint8, ok bool) {
	if size == 0 {
		return zeroClass, align <= zeroPitch
	}
	return alignedClass(size+canarySize, align)
}

// getHardened allocates an object in a random free slot, as get does.
//
// Cost, of it and of Free: half of the time goes into reading a whole slot and writing one. In the other
// half stores cost the most, as in AllocDirty: they queue behind the poison. So few functions are called on
// the way, and the common case of each loop is written out without the loop.
func (h *Heap) getHardened(size, align int) (b []byte, clean bool, err error) {
	h.made("Alloc")
	c, ok := uint8(0), false
	if uint(size-1) < largestTabled-canarySize && isNatural(align) {
		c = tabledClass(size + canarySize)
	} else if err := h.checkAlloc(size, align); err != nil {
		return nil, true, err
	} else if c, ok = hardenedClass(size, align); !ok {
		return h.getLarge(nil, size, align)
	}
	hd := h.hard
	var it item
	ok = false
	pc := percpu.Pin(&hd.stock)
	if pc != nil {
		it, ok = pc.magazine(c).pop()
	}
	percpu.Unpin(pc)
	if !ok {
		if h.usable("Alloc"); due(&hd.stock, c) {
			if b, ok = h.sample(size, align); ok {
				return b, true, nil
			}
		}
		if it, err = h.fetch(&hd.stock, c, size); err != nil {
			return nil, true, err
		}
	}
	slot, asked := h.slot(c, it), hd.size(it.state())
	clean = *asked == 0
	if clean || len(slot) > len(hd.poison) || !bytes.Equal(slot, hd.poison[:len(slot)]) {
		h.inspect(c, slot, clean)
	}
	if canary := hd.canary(h.at(it)); isShort(slot[size:]) {
		paintShort(slot[size:], canary)
	} else {
		paint(slot[size:], canary)
	}
	*asked = uint32(size) + 1
	if !h.claim(it) {
		panic(h.freedTwice("Alloc", it))
	}
	return slot[:size:size], clean, nil
}

// inspect panics if a slot was written to while it was free. The slot is then not handed out any more.
func (h *Heap) inspect(c uint8, slot []byte, clean bool) {
	detail, was := "written to after it was freed", &h.hard.poison
	if clean {
		detail, was = "it was never handed out", &zeroes
	}
	if i := was.First(slot); i >= 0 {
		h.depots[c].abandon()
		panic(h.violation("Alloc", guard.WriteToFree, detail, unsafe.Pointer(&slot[i])))
	}
}

// freeHardened is Free in a hardened or nil heap.
func (h *Heap) freeHardened(p unsafe.Pointer) {
	h.made("Free")
	c, it, ok := h.retire(p)
	if !ok {
		if p != nil {
			h.freeOther(p)
		}
		return
	}
	pc := percpu.Pin(&h.hard.freed)
	pushed := pc != nil && pc.magazine(c).push(it)
	percpu.Unpin(pc)
	if !pushed {
		raise(h.put(c, it))
	}
}

// retire is takeBack in a hardened heap. It checks the canary and poisons the slot. An atomic operation sees
// to it that only one of several goroutines that free an object succeeds.
func (h *Heap) retire(p unsafe.Pointer) (c uint8, it item, ok bool) {
	off := uintptr(p) - uintptr(h.base)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return 0, 0, false
	}
	e, state, exact := h.find(off)
	if !exact || *h.state(state) != stateLive {
		return 0, 0, false
	}
	c, it = e.class, itemAt(off, state)
	hd := h.hard
	slot, asked, canary := unsafe.Slice((*byte)(p), classes[c].size), int(*hd.size(state))-1, hd.canary(p)
	if asked < 0 { // the heap was closed since
		return 0, 0, false
	}
	if behind := slot[asked:]; !isShort(behind) || !isPainted(behind, canary) {
		if i := changed(behind, canary); i >= 0 && *h.state(state) == stateLive {
			panic(h.overrun(p, asked+i))
		}
	}
	word, one := (*uint32)(unsafe.Add(h.states, uintptr(state&^3))), oneState[state%4]
	for {
		old := atomic.LoadUint32(word)
		if old&(0xff*one) != stateLive*one {
			return 0, 0, false
		}
		if atomic.CompareAndSwapUint32(word, old, old-(stateLive-stateCached)*one) {
			break
		}
	}
	hd.poison.Fill(slot)
	return c, it, true
}

// oneState has, for each of the four states in a word, the word in which it is 1 and the others are 0. With it
// a state is changed in a register: a byte that is stored and then read as part of a word would wait until
// all stores before it are done.
var oneState = func() (words [4]uint32) {
	for i := range words {
		(*[4]uint8)(unsafe.Pointer(&words[i]))[i] = 1
	}
	return words
}()

// withhold puts slots into quarantine, and returns in the same place those that leave it instead. Caller
// holds the lock of the class's depot.
func (hd *hardened) withhold(c uint8, items []item) (left []item) {
	q := &hd.withheld[c]
	return items[:q.swap(items[q.fill(items, withheldSlots(c)):], items)]
}

// roomFor returns the size of the region for a large object.
func (hd *hardened) roomFor(size, align int) int {
	if align > guard.PageSize() && size < math.MaxInt-align { // a larger size is refused anyway
		size += align
	}
	return max(size, 1)
}

// place returns the offset of a large object in its region: its end touches the guard, as nearly as the
// alignment allows.
func (hd *hardened) place(r *region.Region, size, align int) int {
	base := int(uintptr(r.Base()))
	return (base+r.Size()-size)&^(max(align, granule)-1) - base
}

// around returns the bytes before and behind a large object on its OS pages.
func around(r *region.Region, at, size int) (before, behind []byte) {
	from, to := onPages(at, size)
	return r.Bytes()[from:at], r.Bytes()[at+size : to]
}

// onPages returns the OS pages that some bytes of a region lie on.
func onPages(at, size int) (from, to int) {
	return at &^ (guard.PageSize() - 1), alignUp(at+size, guard.PageSize())
}

// surround paints canaries around a large object.
func (hd *hardened) surround(r *region.Region, at, size int) {
	canary := hd.canary(unsafe.Add(r.Base(), at))
	before, behind := around(r, at, size)
	paint(before, canary)
	paint(behind, canary)
}

// intact tells whether the canaries around a large object are unchanged. If not, at is the offset of the first
// change from the object's start.
func (hd *hardened) intact(o largeObject, p unsafe.Pointer) (at int, ok bool) {
	canary := hd.canary(p)
	before, behind := around(o.region, int(uintptr(p)-uintptr(o.region.Base())), o.size)
	if i := changed(before, canary); i >= 0 {
		return i - len(before), false
	}
	if i := changed(behind, canary); i >= 0 {
		return o.size + i, false
	}
	return 0, true
}

// overrun returns the violation of a write behind, or before, the object at p.
func (h *Heap) overrun(p unsafe.Pointer, at int) *guard.Violation {
	detail := "object was written to behind its end"
	if at < 0 {
		detail = "object was written to before its start"
	}
	return h.violation("Free", guard.Overrun, detail, unsafe.Add(p, at))
}

// release returns the slots of a class that are in quarantine to their slabs.
func (h *Heap) release(c uint8) (bad *guard.Violation) {
	if h.hard == nil {
		return nil
	}
	d, q := &h.depots[c], &h.hard.withheld[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.len() == 0 || h.closed.Load() {
		return nil
	}
	bad = cmp.Or(h.returnToSlabs(c, d, q.items), h.returnToSlabs(c, d, q.queue))
	*q = quarantine{}
	return bad
}

// pick takes a random free slot of a slab: a random one among the 8 slots at the first place, from a random
// one on, that has any.
func (h *Heap) pick(c uint8, d *depot, first uint32) item {
	r := h.meta.record(first)
	slots := classes[c].slots
	block := h.entry(uintptr(first)).states
	words := (slots + 7) / 8
	word := mathrand.Uint32N(words)
	free := h.freeIn(block, word, slots)
	for free == 0 {
		if word++; word == words {
			word = 0
		}
		free = h.freeIn(block, word, slots)
	}
	for range mathrand.IntN(bits.OnesCount64(free)) {
		free &= free - 1
	}
	i := word*8 + uint32(bits.TrailingZeros64(free))/8
	*h.state(block + i) = stateCached
	d.free--
	if r.free--; r.free == 0 {
		h.unlink(d, first)
	}
	return newItem(first<<(unitBits-4)+i*classes[c].pitch/granule, block+i)
}

// freeIn returns a high bit for each of 8 slots that is free.
func (h *Heap) freeIn(block, word, slots uint32) uint64 {
	free := zeroBytes(binary.LittleEndian.Uint64((*[8]byte)(unsafe.Pointer(h.state(block + word*8)))[:]))
	if rest := slots - word*8; rest < 8 {
		free &= 1<<(rest*8) - 1
	}
	return free
}

// quarantine withholds freed slots from reuse. A slot waits first at a random place of items, until another
// slot draws that place, and then in a queue. So nobody can predict when it comes back, and it does not
// come back before as many others were freed as the queue is long.
type quarantine struct {
	items []item
	queue []item // a ring once it is full
	next  int    // the oldest slot of the ring
}

const (
	withheldBytes = 16 << 10 // of a class, for items and for queue each: they should fit into CPU caches
	maxWithheld   = 512      // slots
)

// minMixed is the minimum of slots in a quarantine from which slots are handed out in the order in which
// they leave. With fewer, they return to their slabs and are picked there at random: that costs more, but
// little compared to the poison of such large slots.
const minMixed = 4

// mixedBatches returns the number of batches that a depot may hold now: one, so that none lies below others
// for long; and one time in 16 none, so that slots in slabs take part, too, and writes to them are found
// sooner. To return all slots to their slabs would take 70 ns more for each object.
func mixedBatches(c uint8) int {
	if withheldSlots(c) >= minMixed && mathrand.Uint32N(16) > 0 {
		return 1
	}
	return 0
}

// withheldSlots returns the number of slots of a class in items, and in the queue, of a full quarantine.
func withheldSlots(c uint8) int {
	return max(min(withheldBytes/int(classes[c].pitch), maxWithheld), 1)
}

// fill adds slots until the quarantine is full, and returns how many it took.
func (q *quarantine) fill(items []item, most int) (n int) {
	for n < len(items) && len(q.queue) < most {
		it := items[n]
		if len(q.items) < most {
			q.items = append(q.items, it)
		} else {
			i := mathrand.IntN(most)
			it, q.items[i] = q.items[i], it
			q.queue = append(q.queue, it)
		}
		n++
	}
	return n
}

// swap adds slots to a full quarantine, and puts those that leave for them into out, which may be items
// itself. One unpredictable number serves all of them, which saves a tenth of the time of Alloc and Free.
func (q *quarantine) swap(items, out []item) (n int) {
	random := mathrand.Uint64()
	places, queue, next := q.items, q.queue, q.next
	for _, it := range items {
		random = random*0x5851F42D4C957F2D + 0x14057B7EF767814F // Knuth's, see mathrand.PCG
		i, _ := bits.Mul64(random, uint64(len(places)))
		it, places[i] = places[i], it
		out[n], queue[next] = queue[next], it
		n++
		if next++; next == len(queue) {
			next = 0
		}
	}
	q.next = next
	return n
}

func (q *quarantine) len() int { return len(q.items) + len(q.queue) }
