package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/guarded"
	"github.com/seed-9a6c551e/offheap/internal/sampling"
)

// Sampled objects (guard.Sample) lie in guarded slots, not in the heap's regions: so Free and the
// others find none in a slab, and look here last. Their room is what was asked for.

// id is the heap as the owner of sampled objects.
func (h *Heap) id() uintptr { return uintptr(h.base) }

// due counts an allocation of a class on the processor, and tells whether it is to be sampled.
func (fs *fronts) due(c uint8) bool {
	f := fs.enterNew()
	due := f != nil && f.due(c)
	fs.leave(f)
	if f == nil { // it cannot be counted
		pass, sample := sampling.Draw()
		return pass == 0 && sample
	}
	return due
}

// popDue takes a slot of a class that the processor has.
func (fs *fronts) popDue(c uint8) (it item, ok bool) {
	f := fs.enter()
	if f != nil {
		it, ok = f.magazine(c).popDue()
	}
	fs.leave(f)
	return it, ok
}

// pop takes a slot of a class that the processor has, unless an allocation is due.
func (fs *fronts) pop(c uint8) (it item, ok bool) {
	f := fs.enter()
	if f != nil {
		it, ok = f.magazine(c).pop()
	}
	fs.leave(f)
	return it, ok
}

// sample makes an object in a guarded slot, which reads zero; ok is false if there is none.
func (h *Heap) sample(size, align int) (b []byte, ok bool) {
	h.usable("Alloc")
	p, ok := guarded.Alloc(h.id(), h.config.Name, size, max(align, granule))
	if !ok {
		return nil, false
	}
	if h.closed.Load() { // meanwhile
		guarded.Close(h.id())
		h.usable("Alloc")
	}
	reclaimOr(func() { h.freeSampled(p) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return unsafe.Slice((*byte)(p), size), true
}

// freeSampled frees the sampled object at p; false if there is none.
func (h *Heap) freeSampled(p unsafe.Pointer) bool {
	at, overrun, ok := guarded.Free(h.id(), p)
	if overrun {
		panic(h.overrun(p, at))
	}
	return ok
}
