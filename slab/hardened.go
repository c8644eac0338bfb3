package slab

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
	mathrand "math/rand/v2"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/filler"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
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

	stock, freed percpu.Table[cache]
	withheld     [sizeclass.Number]quarantine // the lock of a class's depot guards its quarantine
}

// canarySize is the minimum of bytes behind an object that are checked.
const canarySize = 8

// harden makes the heap, which was just opened, a hardened one.
func (h *Heap) harden() {
	_ = region.ReportFaults() // without it a fault that ends the program is not reported
	hd := &hardened{}
	var secret [8]byte
	rand.Read(secret[:]) // does not fail
	rand.Read(hd.poison[:])
	hd.secret = binary.LittleEndian.Uint64(secret[:])
	h.hard, h.stock, h.freed, h.tables = hd, &hd.stock, &hd.freed, []*percpu.Table[cache]{&hd.stock, &hd.freed}
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

// hardenedClass returns the class for an object and its canary.
func hardenedClass(size, align int) (c uint8, ok bool) {
	if size == 0 {
		return sizeclass.Zero, align <= sizeclass.ZeroPitch
	}
	return sizeclass.Aligned(size+canarySize, align)
}

// adopt makes a cached slot an object of size bytes: it checks that nobody wrote to the slot, and paints the canary.
//
// Cost, of it and of retire: half of the time goes into reading a whole slot and writing one. In the other
// half stores cost the most, as in AllocDirty: they queue behind the poison. So the common case of each loop is
// written out without the loop.
func (h *Heap) adopt(c uint8, it slots.Item, size int) (b []byte, clean bool, err error) {
	hd := h.hard
	p, asked := h.slots.At(it), h.slots.Size(it.State())
	slot := unsafe.Slice((*byte)(p), sizeclass.Table[c].Size)
	clean = *asked == 0
	if clean || len(slot) > len(hd.poison) || !bytes.Equal(slot, hd.poison[:len(slot)]) {
		h.inspect(c, slot, clean)
	}
	if canary := hd.canary(p); isShort(slot[size:]) {
		paintShort(slot[size:], canary)
	} else {
		paint(slot[size:], canary)
	}
	*asked = uint32(size) + 1
	if !h.claim(c, it) {
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

// retire is takeBack in a hardened heap. It checks the canary and poisons the slot. An atomic operation sees
// to it that only one of several goroutines that free an object succeeds.
func (h *Heap) retire(p unsafe.Pointer) (c uint8, it slots.Item, ok bool) {
	c, it, ok = h.slots.Live(p)
	if !ok {
		return 0, 0, false
	}
	hd := h.hard
	slot, asked, canary := unsafe.Slice((*byte)(p), sizeclass.Table[c].Size), int(*h.slots.Size(it.State()))-1, hd.canary(p)
	if asked < 0 { // the heap was closed since
		return 0, 0, false
	}
	if behind := slot[asked:]; !isShort(behind) || !isPainted(behind, canary) {
		if i := changed(behind, canary); i >= 0 && h.slots.IsLive(p) {
			panic(h.overrun(p, asked+i))
		}
	}
	if !h.slots.FreeOnce(it) {
		return 0, 0, false
	}
	hd.poison.Fill(slot)
	return c, it, true
}

// withhold puts slots into quarantine, and returns in the same place those that leave it instead. Caller
// holds the lock of the class's depot.
func (hd *hardened) withhold(c uint8, items []slots.Item) (left []slots.Item) {
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
	return (base+r.Size()-size)&^(max(align, sizeclass.Granule)-1) - base
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

// quarantine withholds freed slots from reuse. A slot waits first at a random place of items, until another
// slot draws that place, and then in a queue. So nobody can predict when it comes back, and it does not
// come back before as many others were freed as the queue is long.
type quarantine struct {
	items []slots.Item
	queue []slots.Item // a ring once it is full
	next  int          // the oldest slot of the ring
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
	return max(min(withheldBytes/int(sizeclass.Table[c].Pitch), maxWithheld), 1)
}

// fill adds slots until the quarantine is full, and returns how many it took.
func (q *quarantine) fill(items []slots.Item, most int) (n int) {
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
func (q *quarantine) swap(items, out []slots.Item) (n int) {
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
