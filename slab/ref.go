package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// Ref names an object of a Heap: Heap.Ref makes it, Heap.Bytes follows it. It takes 8 bytes without a pointer, so it may
// be stored off-heap, in the entry of a table for example. It goes stale when its object is freed, even if another
// object has the place by then. The zero Ref names no object. References to the same object are equal (==).
//
//	 63 62                     32 31                      0
//	┌──┬─────────────────────────┬─────────────────────────┐
//	│ 0│ generation, not 0       │ place, in granules      │  an object in a slot
//	├──┼─────────────────────────┼──┬──────────────────────┤
//	│ 1│ generation              │ 1│ guarded slot         │  a sampled object
//	├──┼─────────────────────────┼──┼──────────────────────┤
//	│ 1│ name, lower bits        │ 0│ name, upper bits     │  a large object
//	└──┴─────────────────────────┴──┴──────────────────────┘
type Ref struct{ word uint64 }

const (
	notInSlot    = 1 << 31 // in the upper half
	ofSampled    = 1 << 31 // in the lower half
	halfNameBits = 31
)

func makeRef(at, generation uint32) Ref { return Ref{uint64(generation)<<32 | uint64(at)} }

// at returns the place, and generation the rest, of a reference to an object in a slot.
func (r Ref) at() uint32         { return uint32(r.word) }
func (r Ref) generation() uint32 { return uint32(r.word >> 32) }

// IsNil tells whether r is the zero Ref.
func (r Ref) IsNil() bool { return r.word == 0 }

// Ref returns the reference to the object b, as Alloc returned it, or any slice of it that starts at the same byte. It is
// good until the object is freed, or Realloc moves it. Any goroutine may call it.
//
// Ref panics with a *guard.Violation if b is not a live object of the heap, nil included, and with an error that wraps
// guard.ErrNoMemory if there is no memory for its books: 4 bytes for each slot of up to 1 MiB that the heap has, or 8
// for sizes that are no power of two, from the first Ref on.
//
// Cost: a lock for the first Ref to an object, some nanoseconds for others. Free of an object that has references takes
// longer: see References in the package comment.
func (h *Heap) Ref(b []byte) Ref { return must(h.TryRef(b)) }

// TryRef is Ref that returns its error. It panics with a *guard.Violation as Ref does.
func (h *Heap) TryRef(b []byte) (Ref, error) {
	h.made("Ref")
	p := addr(b)
	h.markRead(p)
	if _, it, ok := h.slots.Object(p); ok {
		return h.refer(it)
	}
	h.usable("Ref")
	if name, ok := h.large.nameOf(p); ok {
		return makeRef(uint32(name>>halfNameBits), notInSlot|uint32(name&(1<<halfNameBits-1))), nil
	}
	if slot, generation, ok := sampled.Name(h.id(), p); ok {
		return makeRef(ofSampled|slot, notInSlot|generation), nil
	}
	h.usable("Ref") // after what was read
	panic(h.noObject("Ref", p))
}

// refer returns the reference to the object in a slot.
func (h *Heap) refer(it slots.Item) (Ref, error) {
	generation, ok, err := h.slots.Refer(it)
	if err != nil && h.client().reclaim(ticks(), err) {
		generation, ok, err = h.slots.Refer(it)
	}
	if err != nil && region.Reclaim() {
		generation, ok, err = h.slots.Refer(it)
	}
	region.ReclaimOr(func() {})
	h.usable("Ref") // checked last: the heap may have been closed while it was read
	switch {
	case err != nil:
		return Ref{}, prefixed(err)
	case !ok:
		panic(h.noObject("Ref", h.slots.At(it)))
	}
	return makeRef(uint32(it.Offset()/sizeclass.Granule), generation), nil
}

// Bytes returns the object that r names, with all of its room: length and capacity are its Size. The heap does not know
// the length that was asked for, so keep it, in the object or beside the reference, and cut the result to it. In a
// hardened heap, and for a sampled object, the length is the one that was asked for. The bytes behind what was asked
// for are zero, or what was written to them.
//
// The object is valid until Free: see to it that no goroutine frees it while another uses it. Any goroutine may call
// Bytes. It panics with a *guard.Violation if r is the zero Ref, if the object was freed, if r is of another heap, and
// after Close.
//
// Cost: for an object in a slot no lock and no search, some nanoseconds; for a large or sampled one, a lock.
func (h *Heap) Bytes(r Ref) []byte {
	b, ok := h.TryBytes(r)
	if !ok {
		h.refuse(r)
	}
	return b
}

// TryBytes is Bytes where references may be stale: ok is false if the object was freed, and for the zero Ref. For a Ref of
// another heap ok is false, too: each heap mixes a random number of 31 bits into its references. After Close it panics
// with a *guard.Violation.
func (h *Heap) TryBytes(r Ref) (b []byte, ok bool) {
	if h != nil {
		if c, it, ok := h.slots.Referenced(r.at(), r.generation()); ok {
			n := int(sizeclass.Table[c].Size)
			if h.hard != nil {
				n = int(*h.slots.Size(it.State())) - 1
			}
			if n >= 0 { // else the heap is being closed
				p := h.slots.At(it)
				h.markRead(p)
				return unsafe.Slice((*byte)(p), n), true
			}
		}
	}
	return h.otherBytes(r)
}

// otherBytes is TryBytes for a reference that names no object in a slot.
func (h *Heap) otherBytes(r Ref) (b []byte, ok bool) {
	h.usable("Bytes")
	switch {
	case r.generation() < notInSlot:
	case r.at() < ofSampled:
		if o, p, ok := h.large.named(uint64(r.at())<<halfNameBits | uint64(r.generation()&^notInSlot)); ok {
			n := o.size
			if h.hard == nil {
				n = int(o.region.Committed())
			}
			return unsafe.Slice((*byte)(p), n), true
		}
	default:
		if p, ok := sampled.Named(h.id(), r.at()&^ofSampled, r.generation()&^notInSlot); ok {
			if n, ok := sampled.Size(h.id(), p); ok {
				return unsafe.Slice((*byte)(p), n), true
			}
		}
	}
	h.usable("Bytes") // after what was read
	return nil, false
}

// refuse panics with the violation that says why r names no object.
func (h *Heap) refuse(r Ref) {
	if r.IsNil() {
		panic(h.violation("Bytes", guard.InvalidArgument, "the zero Ref names no object", nil))
	}
	var p unsafe.Pointer
	if r.generation() < notInSlot && r.at()/(unit/sizeclass.Granule) < h.slots.Edge() {
		p = unsafe.Add(h.slots.Base(), uintptr(r.at())*sizeclass.Granule)
	}
	panic(h.violation("Bytes", guard.UseAfterFree, "the object of the reference was freed, or is of another heap", p))
}
