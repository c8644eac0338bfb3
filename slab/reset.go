package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// Reset frees all objects of the heap at once: small, large and sampled ones, whoever allocated them. References to them
// are stale from then on. Locals stay open; the slots that they cache are freed, too.
//
// No other goroutine may use the heap or a Local of it meanwhile, and nobody may use an object afterwards: as Free does
// not, Reset does not make that fault, unless the heap is hardened. It panics with a *guard.Violation after Close.
//
// The memory is kept as Free keeps it, for half a second, for the objects that come next; Purge gives it back at once.
//
// In a hardened heap Reset looks at each object as Free does: if one was overrun, it panics with a *guard.Violation and
// changes nothing. The memory is inaccessible afterwards, and quarantine ends. Sampled objects are not looked at.
//
// Cost: about 100 ns for each slab of 64 KiB, however many objects it has, and a stop of the world for some
// microseconds. Some microseconds for each sampled object, for each large one that is not kept, and for each slab of a
// hardened heap.
func (h *Heap) Reset() {
	h.usable("Reset")
	if h.hard != nil {
		h.lookAtAll()
	}
	// The recovery of a dropped Local must not return slots of before to slabs of afterwards.
	h.dropped.mu.Lock()
	defer h.dropped.mu.Unlock()
	percpu.Drain((*cache).forget, h.tables...)
	h.forgetLocals()
	h.dropSlabs()
	h.dropAllLarge()
	sampled.Close(h.id())
	h.note()
	h.usable("Reset") // Close may have come meanwhile
}

// lookAtAll panics if an object of a hardened heap was overrun.
func (h *Heap) lookAtAll() {
	for p := range h.slots.Objects() {
		if c, it, ok := h.slots.Object(p); ok {
			slot, asked := unsafe.Slice((*byte)(p), sizeclass.Table[c].Size), int(*h.slots.Size(it.State()))-1
			if asked < 0 { // the heap was closed since
				break
			}
			if i := changed(slot[asked:], h.hard.canary(p)); i >= 0 {
				panic(h.overrun("Reset", p, asked+i))
			}
		}
	}
	for _, p := range h.large.all() {
		if o, ok := h.largeAt(p); ok {
			if at, intact := h.hard.intact(o, p); !intact {
				panic(h.overrun("Reset", p, at))
			}
		}
	}
}

// forget empties the magazines. What the slots become is up to the caller.
func (pc *cache) forget() {
	for i := range pc.magazines {
		m := &pc.magazines[i]
		m.n -= uint64(m.len())
	}
}

// forgetLocals empties the caches of all Locals. Those that became unreachable find that out themselves.
func (h *Heap) forgetLocals() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resets++
	for _, l := range h.openLocals() {
		l.cache.forget()
		l.resets = h.resets
	}
}

// dropSlabs makes free units of all slabs. It holds the locks of all depots meanwhile, so that nobody makes a slab.
func (h *Heap) dropSlabs() {
	for i := range h.depots {
		d := &h.depots[i]
		d.mu.Lock()
		defer d.mu.Unlock()
		if h.closed.Load() {
			return
		}
	}
	for i := range h.depots {
		h.depots[i].forget(uint8(i))
	}
	for first, c := range h.slots.Slabs() {
		h.drop(c, &h.depots[c], first)
	}
	for i := range h.depots {
		h.checked(uint8(i), &h.depots[i])
	}
}

// forget makes the depot of class c one whose slots are all free in their slabs, which are in no list. Caller holds d.mu.
func (d *depot) forget(c uint8) {
	d.batches, d.givers, d.untaken = nil, nil, 0
	d.partial, d.empty = [owners]slots.List{}, 0
	d.withheld = quarantine{}
	d.abandoned = 0
	d.free = d.slabs * int(sizeclass.Table[c].Slots)
}

// dropAllLarge frees all large objects.
func (h *Heap) dropAllLarge() {
	l := &h.large
	for _, p := range l.all() {
		if h.hard == nil {
			h.dropLarge(p)
			continue
		}
		if o, ok := l.take(p); ok {
			n := int(o.region.Committed())
			l.resize(-n, -o.size)
			_ = h.closeLarge(o.region, n) // what the kernel does not take now is tried again
		}
	}
}
