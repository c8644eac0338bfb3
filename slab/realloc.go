package slab

import (
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// Size returns how many bytes the object has room for: its slot, or the OS pages of a large one; in
// a hardened heap, or if it is sampled, what was asked for. What is no object of the heap is a *guard.Violation.
func (h *Heap) Size(b []byte) int {
	h.markRead(unsafe.Pointer(unsafe.SliceData(b)))
	return h.size("Size", unsafe.Pointer(unsafe.SliceData(b)))
}

func (h *Heap) size(op string, p unsafe.Pointer) int {
	h.made(op)
	c, it, ok := h.lookup(p)
	n := int(classes[c].size)
	if ok && h.hard != nil {
		n = int(*h.hard.size(it.state())) - 1
	}
	h.usable(op) // after what was read
	if ok {
		return n
	}
	if o, ok := h.largeAt(p); ok {
		if h.hard != nil {
			return o.size
		}
		return int(o.region.Committed())
	}
	if n, ok := sampled.Size(h.id(), p); ok {
		return n
	}
	panic(h.noObject(op, p))
}

// Realloc returns an object of the new size that begins with what b holds; b is freed unless it is
// the same object. What is new reads zero, up to the capacity. Realloc of nil allocates. It panics as
// Alloc and Free do, and for a b that is longer than Size; if there is no memory, b is as it was.
//
// The capacity is that of the slot, as Alloc's is, if the object is longer than b or in another place.
// An object that stays where it is and does not become longer has its size as capacity: behind its end
// there may be what b held, or what append wrote into b's capacity. So append copies it to the Go heap
// when it must grow; Realloc gives the room back, and zeroes it.
//
// An object of more than 1 MiB that becomes another such grows where it is, if it has grown before,
// or moves without being copied (region.Region.Move). In a hardened heap every object is copied to
// another place, whatever the size, and b is freed.
func (h *Heap) Realloc(b []byte, size int) []byte { return must(h.TryRealloc(b, size)) }

// TryRealloc is Realloc that returns its error.
func (h *Heap) TryRealloc(b []byte, size int) ([]byte, error) {
	if b == nil {
		return h.tryAlloc(size, size, granule)
	}
	h.markWrite(unsafe.Pointer(unsafe.SliceData(b)))
	room := h.size("Realloc", unsafe.Pointer(unsafe.SliceData(b)))
	if len(b) > room {
		panic(h.violation("Realloc", guard.WrongSize, otherSize, unsafe.Pointer(unsafe.SliceData(b))))
	}
	all := unsafe.Slice(unsafe.SliceData(b), room)
	switch {
	case h.hard != nil || sampled.Holds(unsafe.Pointer(unsafe.SliceData(b))): // always elsewhere
	case stays(room, size):
		if size > len(b) {
			clear(all[len(b):])
		}
		h.noteAsked(unsafe.Pointer(unsafe.SliceData(b)), size)
		return upToZeroes(all[:size], len(b)), nil
	case room > largestSlot && size > largestSlot && size < math.MaxInt/4:
		out, err := h.resizeLarge(b, size)
		return upToZeroes(out, len(b)), err
	}
	out, clean, err := h.get(size, size, granule)
	if err != nil {
		return nil, err
	}
	n := copy(out, b)
	if !clean {
		clear(out[n:cap(out)])
	}
	freed := false
	defer func() {
		if !freed { // b is no object any more, or was overrun
			h.Free(out)
		}
	}()
	h.Free(b)
	freed = true
	return out, nil
}

// noteAsked notes the new size of an object that stays where it is, if it is a large one.
func (h *Heap) noteAsked(p unsafe.Pointer, size int) {
	if (uintptr(p)-uintptr(h.base))>>unitBits >= uintptr(h.edge.Load()) {
		h.large.ask(p, size)
	}
}

// upToZeroes ends the capacity of an object that was reallocated where it is: behind its end are zeroes
// only if it has become longer.
func upToZeroes(b []byte, was int) []byte {
	if len(b) > was {
		return b
	}
	return b[:len(b):len(b)]
}

// stays tells whether an object with some room is right for a size: if the size fits, and does not
// waste more than half of it.
func stays(room, size int) bool {
	if size < 0 || size > room {
		return false
	}
	return size > room/2 || room <= 4*granule
}
