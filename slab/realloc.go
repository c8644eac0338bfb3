package slab

import (
	"fmt"
	"math"
	"unsafe"
)

// AllocAligned returns size zeroed bytes aligned to align, a power of two up to 1 MiB. It panics as
// Alloc does, and for alignments that cannot be. Free and Realloc take it as any other object, but
// Realloc does not keep the alignment.
func (h *Heap) AllocAligned(size, align int) []byte { return must(h.TryAllocAligned(size, align)) }

// TryAllocAligned is AllocAligned that returns its error.
func (h *Heap) TryAllocAligned(size, align int) ([]byte, error) {
	if align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return nil, fmt.Errorf("slab: alignment %d must be a power of two up to %d", align, maxAlign)
	}
	slot := alignedSize(size, align)
	if slot <= largestSlot {
		b, err := h.TryAlloc(slot)
		if err != nil {
			return nil, err
		}
		return b[:size], nil
	}
	// Large objects of 2 MiB are aligned to that.
	b, _, err := h.getLarge(max(size, 2*maxAlign))
	if err != nil {
		return nil, err
	}
	return b[:size], nil
}

// alignedSize returns the slot size for an object that must be aligned. Slots are multiples of
// their size from a unit's start, so it is the smallest size class that is a multiple of align;
// alignments beyond a unit are for large objects.
func alignedSize(size, align int) int {
	if align <= granule || uint(size) > largestSlot {
		return size
	}
	if align > unit {
		return largestSlot + 1
	}
	for c := classOf(uint(max(size, align))); c < uint8(len(classTable)); c++ {
		if classes[c].size%uint32(align) == 0 {
			return int(classes[c].size)
		}
	}
	return largestSlot
}

// Size returns how many bytes the object has room for: its slot, or the OS pages of a large one.
// What is no object of the heap is a *guard.Violation.
func (h *Heap) Size(b []byte) int {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if c, _, ok := h.lookup(p); ok {
		return int(classes[c].size)
	}
	h.usable("Size")
	if r := h.largeAt(p); r != nil {
		return int(r.Committed())
	}
	panic(h.noObject("Size", p))
}

// Realloc returns an object of the new size that begins with what b holds; b is freed unless it is
// the same object. What is new reads zero. Realloc of nil allocates. It panics as Alloc and Free
// do; if there is no memory, b is as it was.
//
// An object of more than 1 MiB that becomes another such grows where it is, if it has grown before,
// or moves without being copied (guard.Region.Move).
func (h *Heap) Realloc(b []byte, size int) []byte { return must(h.TryRealloc(b, size)) }

// TryRealloc is Realloc that returns its error.
func (h *Heap) TryRealloc(b []byte, size int) ([]byte, error) {
	if b == nil {
		return h.TryAlloc(size)
	}
	room := h.Size(b)
	all := unsafe.Slice(unsafe.SliceData(b), room)
	if stays(room, size) {
		if size > len(b) {
			clear(all[len(b):])
		}
		return all[:size], nil
	}
	if room > largestSlot && size > largestSlot && size < math.MaxInt/4 {
		return h.resizeLarge(b, size)
	}
	out, clean, err := h.get(size)
	if err != nil {
		return nil, err
	}
	n := copy(out, b)
	if !clean {
		clear(out[n:cap(out)])
	}
	h.Free(b)
	return out, nil
}

// stays tells whether an object with some room is right for a size: if the size fits, and does not
// waste more than half of it.
func stays(room, size int) bool {
	if size < 0 || size > room {
		return false
	}
	return size > room/2 || room <= 4*granule
}
