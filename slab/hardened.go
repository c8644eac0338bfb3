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

// hardened is what a heap of Config.Hardened has on top. Its processors have two caches each, one of
// slots that were taken at random and one of those that were freed, which go into quarantine
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
	withheld     [maxClasses]quarantine // the locks of the depots guard them
}

// canarySize is the least bytes behind an object that are checked.
const canarySize = 8

func openHardened(m *meta) *hardened {
	k := &hardened{sizes: m.sizes.base}
	var secret [8]byte
	rand.Read(secret[:]) // does not fail
	rand.Read(k.poison[:])
	k.secret = binary.LittleEndian.Uint64(secret[:])
	return k
}

// size is where the heap keeps for a slot what was asked for, and 1; 0 if it was never handed out.
func (k *hardened) size(state uint32) *uint32 {
	return (*uint32)(unsafe.Add(k.sizes, uintptr(state)*4))
}

// canary is the pattern behind the object at an address: one that is copied from elsewhere is no
// good.
func (k *hardened) canary(p unsafe.Pointer) uint64 {
	return (k.secret ^ uint64(uintptr(p))) * 0x9E3779B97F4A7C15
}

// rotated is a pattern as it is to be read from an address on: which of its bytes is where depends on
// the address alone.
func rotated(pattern uint64, p unsafe.Pointer) uint64 {
	return bits.RotateLeft64(pattern, -8*int(uintptr(p)%8))
}

func paint(b []byte, pattern uint64) {
	pattern = rotated(pattern, unsafe.Pointer(unsafe.SliceData(b)))
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, pattern)
	}
	for i := range b {
		b[i] = byte(pattern >> (8 * i))
	}
}

// changed returns the first byte that is not as paint left it, -1 if all are.
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

// isShort is for what paintShort and isPainted take.
func isShort(b []byte) bool { return uint(len(b)-8) <= 8 }

// paintShort is paint for 8 to 16 bytes that end where a word does, and isPainted tells whether
// changed finds nothing there. They are two words that overlap, so that there is no branch that
// depends on how many bytes it is.
func paintShort(b []byte, pattern uint64) {
	binary.LittleEndian.PutUint64(b, rotated(pattern, unsafe.Pointer(unsafe.SliceData(b))))
	binary.LittleEndian.PutUint64(b[len(b)-8:], pattern)
}

func isPainted(b []byte, pattern uint64) bool {
	first := binary.LittleEndian.Uint64(b) ^ rotated(pattern, unsafe.Pointer(unsafe.SliceData(b)))
	last := binary.LittleEndian.Uint64(b[len(b)-8:]) ^ pattern
	return first|last == 0
}

var zeroes filler.Pattern

// slot is all of an item's slot.
func (h *Heap) slot(c uint8, it item) []byte {
	return unsafe.Slice((*byte)(h.at(it)), classes[c].size)
}

// hardenedClass is alignedClass for an object and what is behind it.
func hardenedClass(size, align int) (c uint8, ok bool) {
	if size == 0 {
		return zeroClass, align <= zeroPitch
	}
	return alignedClass(size+canarySize, align)
}

// getHardened makes an object of a random free slot.
//
// Cost, of it and of Free: reading all of a slot and writing all of one takes half of the time. For
// the rest, the number of stores counts, as in AllocDirty, and more so: they queue behind the poison.
// So what is called on the way is as little as possible, and the common case of each loop is there
// without the loop.
func (h *Heap) getHardened(fast, size, align int) (b []byte, clean bool, err error) {
	h.made("Alloc")
	c, ok := uint8(0), false
	if uint(fast-1) < largestTabled-canarySize {
		c = tabledClass(size + canarySize)
	} else if err := h.checkAlloc(size, align); err != nil {
		return nil, true, err
	} else if c, ok = hardenedClass(size, align); !ok {
		return h.getLarge(nil, size, align)
	}
	k := h.hard
	var it item
	ok = false
	pc := percpu.Pin(&k.stock)
	if pc != nil {
		it, ok = pc.magazine(c).pop()
	}
	percpu.Unpin(pc)
	if !ok {
		if h.usable("Alloc"); due(&k.stock, c) {
			if b, ok = h.sample(size, align); ok {
				return b, true, nil
			}
		}
		if it, err = h.fetch(&k.stock, c, size); err != nil {
			return nil, true, err
		}
	}
	slot, asked := h.slot(c, it), k.size(it.state())
	clean = *asked == 0
	if clean || len(slot) > len(k.poison) || !bytes.Equal(slot, k.poison[:len(slot)]) {
		h.inspect(c, slot, clean)
	}
	if canary := k.canary(h.at(it)); isShort(slot[size:]) {
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

// inspect panics if a slot was written to while it was free. Nobody gets it then.
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

// freeHardened is Free.
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

// retire is takeBack. Of several that free one object at the same moment one succeeds: that is what
// the atomic operation is for.
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
	k := h.hard
	slot, asked, canary := unsafe.Slice((*byte)(p), classes[c].size), int(*k.size(state))-1, k.canary(p)
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
	k.poison.Fill(slot)
	return c, it, true
}

// oneState has for each state in a word of four the word where it is 1 and the others are 0. With it
// a state is changed in a register: bytes that are stored and read as a word wait until all stores
// before them are done.
var oneState = func() (words [4]uint32) {
	for i := range words {
		(*[4]uint8)(unsafe.Pointer(&words[i]))[i] = 1
	}
	return words
}()

// withhold puts slots into quarantine. It returns those that leave it for them, in the same place.
// The depot's lock is held.
func (k *hardened) withhold(c uint8, items []item) (home []item) {
	q := &k.withheld[c]
	return items[:q.swap(items[q.fill(items, withheldSlots(c)):], items)]
}

// roomFor is how long the region of a large object is, and place where in it the object starts: its
// end touches the guard, as far as the alignment allows.
func (k *hardened) roomFor(size, align int) int {
	if align > guard.PageSize() && size < math.MaxInt-align { // what is more is refused as it is
		size += align
	}
	return max(size, 1)
}

func (k *hardened) place(r *region.Region, size, align int) int {
	base := int(uintptr(r.Base()))
	return (base+r.Size()-size)&^(max(align, granule)-1) - base
}

// around returns what is before and behind a large object on its OS pages.
func around(r *region.Region, at, size int) (before, behind []byte) {
	from, to := onPages(at, size)
	return r.Bytes()[from:at], r.Bytes()[at+size : to]
}

// onPages returns the OS pages that some bytes of a region lie on.
func onPages(at, size int) (from, to int) {
	return at &^ (guard.PageSize() - 1), alignUp(at+size, guard.PageSize())
}

// surround paints what is around a large object.
func (k *hardened) surround(r *region.Region, at, size int) {
	canary := k.canary(unsafe.Add(r.Base(), at))
	before, behind := around(r, at, size)
	paint(before, canary)
	paint(behind, canary)
}

// intact tells whether nobody wrote to that, or where the first did, from the object's start.
func (k *hardened) intact(o largeObject, p unsafe.Pointer) (at int, ok bool) {
	canary := k.canary(p)
	before, behind := around(o.region, int(uintptr(p)-uintptr(o.region.Base())), o.size)
	if i := changed(before, canary); i >= 0 {
		return i - len(before), false
	}
	if i := changed(behind, canary); i >= 0 {
		return o.size + i, false
	}
	return 0, true
}

// overrun is the violation of who wrote behind, or before, the object at p.
func (h *Heap) overrun(p unsafe.Pointer, at int) *guard.Violation {
	detail := "object was written to behind its end"
	if at < 0 {
		detail = "object was written to before its start"
	}
	return h.violation("Free", guard.Overrun, detail, unsafe.Add(p, at))
}

// release brings home what is withheld of a class.
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

// pick takes a free slot of a slab, beginning to look at a random place.
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

// quarantine withholds slots from reuse: first in a place that another takes at random, then in a
// queue. So nobody can tell when a slot comes back, and it does not before as many others were
// freed as the queue is long.
type quarantine struct {
	items []item
	queue []item // a ring, when it is full
	next  int    // the oldest of it
}

const (
	withheldBytes = 16 << 10 // of a class, for each of both halves: the caches should hold them
	maxWithheld   = 512      // slots
)

// minMixed is how many slots one is taken from at random, at the least, where those that leave
// quarantine are handed out as they come. Where it has fewer they go home to their slabs, to be
// picked there: that costs more, but little beside such a slot's poison.
const minMixed = 4

// mixedBatches is how many batches a depot may hold now: one, so that none lies below others for
// long; and now and then none, so that slots at home take part too. What was written to in them is
// found the sooner. Bringing all home and picking there took 70 ns more for each object.
func mixedBatches(c uint8) int {
	return b2i(withheldSlots(c) >= minMixed && mathrand.Uint32N(16) > 0)
}

func withheldSlots(c uint8) int {
	return max(min(withheldBytes/int(classes[c].pitch), maxWithheld), 1)
}

// fill puts slots in as long as it is not full, and returns how many these are.
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

// swap puts slots in when it is full, and those that leave for them into out, which may be the same.
// One unpredictable number is enough for all of them, and saves a tenth of what Alloc and Free take.
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
