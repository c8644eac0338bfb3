package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

const otherSize = "object was asked for with another size"

// usable panics unless the heap is open. Slow paths call it: fast ones miss if it is not.
func (h *Heap) usable(op string) {
	if h == nil || h.base == nil || h.closed.Load() {
		h.unusable(op)
	}
}

// made panics if Open did not make the heap.
func (h *Heap) made(op string) {
	if h == nil || h.base == nil {
		h.unusable(op)
	}
}

// unusable panics for a heap that is zero or closed. It is not inlined where that is looked for.
//
//go:noinline
func (h *Heap) unusable(op string) {
	if h == nil || h.base == nil {
		panic(&guard.Violation{Op: "slab." + op, What: "use of a zero Heap: slab.Open makes one"})
	}
	panic(h.closedViolation(op))
}

func (h *Heap) closedViolation(op string) *guard.Violation {
	return &guard.Violation{Op: "slab." + op, What: "use after Close", Region: h.config.Name}
}

// violation is misuse of what lies at p. The region that it lies in is named, if it is one, and the
// offset is that in it.
func (h *Heap) violation(op, what string, p unsafe.Pointer) *guard.Violation {
	if h.closed.Load() {
		return h.closedViolation(op) // whatever else it looks like: the books are gone
	}
	v := &guard.Violation{Op: "slab." + op, What: what, Region: h.config.Name, Addr: uintptr(p)}
	if f := guard.Locate(v.Addr); f != nil {
		v.Region, v.Offset, v.Allocated, v.Freed = f.Region, f.Offset, f.Allocated, f.Freed
	}
	return v
}

// raise panics with what was found to be bad, if anything was. Nothing is in the middle of a change
// then: no lock is held, and every slot is in a list, or live.
func raise(bad *guard.Violation) {
	if bad != nil {
		panic(bad)
	}
}

// sound tells whether an item still names a slot of a class. One that was freed twice at the same
// moment may outlive its slab: then another slab, even of other slots, may have its memory or its
// states.
func (h *Heap) sound(c uint8, it item) bool {
	e := h.entry(uintptr(it.at() >> (unitBits - 4)))
	at := uint64(e.first)<<(unitBits-4) + uint64(it.state()-e.states)*uint64(classes[c].pitch/granule)
	return e.taken() && e.class == c && at == uint64(it.at())
}

// freedTwice is the violation of two that freed one object at the same moment.
func (h *Heap) freedTwice(op string, it item) *guard.Violation {
	return h.violation(op, "freed twice at the same time", h.at(it))
}

// noObject says why there is no object at p.
func (h *Heap) noObject(op string, p unsafe.Pointer) *guard.Violation {
	off := uintptr(p) - uintptr(h.base)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return h.noOtherObject(op, p)
	}
	v := h.violation(op, "freed already, or never allocated", p)
	e, state, exact := h.find(off)
	switch {
	case !e.taken():
	case !exact:
		v.What = "pointer that is not the start of an object"
	case *h.state(state) == stateLive:
		v.What = "freed and allocated again at the same time"
	}
	return v
}

// noOtherObject is noObject for what lies in no slab.
func (h *Heap) noOtherObject(op string, p unsafe.Pointer) *guard.Violation {
	v := h.violation(op, "pointer into other memory", p)
	f := guard.Locate(v.Addr)
	sampled := sampled.Owner(p) == h.id()
	switch {
	case f == nil:
	case sampled && f.Kind == guard.UseAfterFree, f.Kind == guard.UseAfterClose && f.Region == h.largeName():
		v.What = "freed already, or never allocated"
	case sampled, h.large.has(f.Addr - uintptr(f.Offset)):
		v.What = "pointer that is not the start of an object"
	}
	return v
}
