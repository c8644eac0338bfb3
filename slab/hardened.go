package slab

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
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
	return sizeclass.For(size+canarySize, align)
}

// freeHardened frees the object at p; false if none starts there. It is client.put with fewer calls and stores: see
// popHardened. No Pool calls it: handles stay as they are.
func (h *Heap) freeHardened(p unsafe.Pointer) bool {
	h.markWrite(p)
	c, it, ok := h.retire(p)
	if ok && !pushFast(h.freed, sizeclass.CachedAt(c), it) {
		raise(h.client().give(c, it))
	}
	return ok
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

// retire is takeBack in a hardened heap. It checks the canary and poisons the slot. An atomic operation sees
// to it that only one of several goroutines that free an object succeeds.
func (h *Heap) retire(p unsafe.Pointer) (c uint8, it slots.Item, ok bool) {
	off := h.slots.Offset(p)
	if !h.slots.Covers(off) {
		return 0, 0, false
	}
	e := h.slots.EntryAt(off)
	i, place := e.Locate(off)
	if !e.InSlab() || !h.slots.State(i).IsLiveAt(place) {
		return 0, 0, false
	}
	c, it = e.Class(), slots.NewItem(off, i)
	hd := h.hard
	slot, asked, canary := unsafe.Slice((*byte)(p), sizeclass.Table[c].Size), int(*h.slots.Size(it.State()))-1, hd.canary(p)
	if asked < 0 { // the heap was closed since
		return 0, 0, false
	}
	if behind := slot[asked:]; !isShort(behind) || !isPainted(behind, canary) {
		if i := changed(behind, canary); i >= 0 && h.slots.IsObject(p) {
			panic(h.overrun("Free", p, asked+i))
		}
	}
	if !h.slots.FreeOnce(it) {
		return 0, 0, false
	}
	hd.poison.Fill(slot)
	return c, it, true
}

// tryLargeHardened is Heap.tryLarge in a hardened heap: the object ends where its region does, as nearly as its alignment
// allows, between canaries.
func (h *Heap) tryLargeHardened(size, align int) ([]byte, error) {
	r, err := h.reserveLarge(h.hard.roomFor(size, align), size)
	if err != nil {
		return nil, err
	}
	at := h.hard.place(r, size, align)
	from, to := onPages(at, size) // an object of no bytes lies behind the committed part
	if err := h.commitLarge(r, from, to); err != nil {
		return nil, closeAfter(err, r)
	}
	h.hard.surround(r, at, size)
	return h.addLarge(r, at, size, size)
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

// overrun returns the violation of a write behind, or before, the object at p. op is the call that found it.
func (h *Heap) overrun(op string, p unsafe.Pointer, at int) *guard.Violation {
	detail := "object was written to behind its end"
	if at < 0 {
		detail = "object was written to before its start"
	}
	return h.violation(op, guard.Overrun, detail, unsafe.Add(p, at))
}
