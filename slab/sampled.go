package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Sampled objects (see Sampling) lie in guarded slots, not in the heap's regions. So Free, Size and the
// others find them last, after slabs and large objects. Their Size is the size that was asked for.

// id returns the number by which guarded slots know the heap.
func (h *Heap) id() uintptr { return uintptr(h.slots.Base()) }

// sample allocates an object in a guarded slot. It reads zero. ok is false if there is no free guarded slot.
func (h *Heap) sample(size, align int) (b []byte, ok bool) {
	h.usable("Alloc")
	p, ok := sampled.Alloc(h.id(), h.config.Name, size, max(align, sizeclass.Granule))
	if !ok {
		return nil, false
	}
	if h.closed.Load() { // meanwhile
		sampled.Close(h.id())
		h.usable("Alloc")
	}
	region.ReclaimOr(func() { h.freeSampled(p) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return unsafe.Slice((*byte)(p), size), true
}

// freeSampled frees the sampled object at p; false if there is none.
func (h *Heap) freeSampled(p unsafe.Pointer) bool {
	at, overrun, ok := sampled.Free(h.id(), p)
	if overrun {
		panic(h.overrun("Free", p, at))
	}
	return ok
}
