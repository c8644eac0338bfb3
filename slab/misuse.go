package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

const (
	otherSize   = "object was asked for with another size"
	notTheStart = "not the start of an object"
)

// usable panics unless the heap is open. Slow paths call it; fast paths miss in a closed heap.
func (h *Heap) usable(op string) {
	if h == nil || h.region == nil || h.closed.Load() {
		h.unusable(op)
	}
}

// made panics if the heap is nil or zero.
func (h *Heap) made(op string) {
	if h == nil || h.region == nil {
		h.unusable(op)
	}
}

// unusable panics for a heap that is nil, zero or closed. It is not inlined, to keep its callers short.
//
//go:noinline
func (h *Heap) unusable(op string) {
	if h == nil || h.region == nil {
		panic(&guard.Violation{Op: "slab." + op, Kind: guard.ZeroValue, Detail: "slab.Open makes a Heap"})
	}
	panic(h.closedViolation(op))
}

func (h *Heap) closedViolation(op string) *guard.Violation {
	return &guard.Violation{Op: "slab." + op, Kind: guard.UseAfterClose, Region: h.config.Name}
}

// violation returns the violation of misusing the memory at p, with the region that p lies in and the offset
// there, if it lies in one.
func (h *Heap) violation(op string, kind guard.Kind, detail string, p unsafe.Pointer) *guard.Violation {
	if h.closed.Load() {
		return h.closedViolation(op) // whatever it looks like: the metadata is gone
	}
	v := &guard.Violation{Op: "slab." + op, Kind: kind, Detail: detail, Region: h.config.Name, Addr: uintptr(p)}
	if f := guard.Locate(v.Addr); f != nil {
		v.Region, v.Offset, v.Allocated, v.Freed = f.Region, f.Offset, f.Allocated, f.Freed
	}
	return v
}

// raise panics with bad, unless it is nil. Callers have finished their change: no lock is held, and every
// slot is in a list or live.
func raise(bad *guard.Violation) {
	if bad != nil {
		panic(bad)
	}
}

// freedTwice returns the violation of two goroutines that freed one object at the same moment.
func (h *Heap) freedTwice(op string, it slots.Item) *guard.Violation {
	return h.violation(op, guard.DoubleFree, "by two goroutines at the same time", h.slots.At(it))
}

// noObject returns the violation that says why no live object starts at p.
func (h *Heap) noObject(op string, p unsafe.Pointer) *guard.Violation {
	off := h.slots.Offset(p)
	if !h.slots.Covers(off) {
		return h.noOtherObject(op, p)
	}
	v, e := h.notLive(op, p), h.slots.EntryAt(off)
	if !e.InSlab() {
		return v
	}
	i, place := e.Locate(off)
	switch s := *h.slots.State(i); {
	case s.IsLiveAt(place):
		v.Detail = "freed and allocated again at the same time"
	case !s.StartsAt(place):
		v.Kind, v.Detail = guard.InvalidPointer, notTheStart
	}
	return v
}

// notLive returns the violation of freeing, or of another use of, an object that is not live.
func (h *Heap) notLive(op string, p unsafe.Pointer) *guard.Violation {
	kind := guard.UseAfterFree
	if op == "Free" || op == "Put" {
		kind = guard.DoubleFree
	}
	return h.violation(op, kind, "freed already, or never allocated", p)
}

// noOtherObject is noObject for a p that lies in no slab.
func (h *Heap) noOtherObject(op string, p unsafe.Pointer) *guard.Violation {
	f := guard.Locate(uintptr(p))
	sampled := sampled.Owner(p) == h.id()
	live, cached := false, false
	if f != nil {
		live, cached = h.large.regionAt(f.Addr - uintptr(f.Offset))
	}
	switch {
	case f == nil:
	case sampled && f.Kind == guard.UseAfterFree, cached, f.Kind == guard.UseAfterClose && f.Region == h.largeName():
		return h.notLive(op, p)
	case sampled, live:
		return h.violation(op, guard.InvalidPointer, notTheStart, p)
	}
	return h.violation(op, guard.InvalidPointer, "into other memory", p)
}
