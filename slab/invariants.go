package slab

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// checked checks a depot in builds with -tags invariants: a small one after every change, a large
// one now and then. Its lock is held.
func (h *Heap) checked(c uint8, d *depot) {
	if !invariant.Enabled {
		return
	}
	if d.changes++; d.slabs < 4 || d.changes%1024 == 0 {
		h.checkDepot(c, d)
	}
}

func holds(ok bool, what string, about ...any) {
	if !ok {
		panic("slab: invariant broken: " + fmt.Sprintf(what, about...))
	}
}

// checkDepot panics where an invariant of a class does not hold. Its lock is held.
func (h *Heap) checkDepot(c uint8, d *depot) {
	k := &classes[c]
	listed := map[uint32]bool{}
	for owner, at := range d.partial {
		for before := uint32(0); at != 0; {
			r := h.meta.record(at - 1)
			holds(int(r.owner) == owner, "slab %d is in the list of its owner %d: %d", at-1, r.owner, owner)
			holds(!listed[at-1], "slab %d is listed once", at-1)
			holds(r.prev == before, "slab %d knows the slab before", at-1)
			holds(r.free > 0, "slab %d has free slots", at-1)
			listed[at-1] = true
			before, at = at, r.next
		}
	}
	holds(len(d.givers) == len(d.batches), "%d batches have %d givers", len(d.batches), len(d.givers))
	if d.empty != 0 {
		holds(!listed[d.empty-1], "the empty slab is not listed")
		holds(h.meta.record(d.empty-1).free == k.slots, "the empty slab is empty")
	}
	slabs, free := 0, 0
	for u := uint32(0); u < h.edge.Load(); u++ {
		e := h.entry(uintptr(u))
		if !e.taken() || e.class != c || e.first != u {
			continue
		}
		slabs++
		r := h.meta.record(u)
		free += int(r.free)
		holds(listed[u] == (r.free > 0 && d.empty != u+1), "slab %d with %d free slots is listed: %v", u, r.free, listed[u])
		n := uint32(0)
		for i := range uint32(blockSize(k.slots)) {
			switch s := *h.state(e.states + i); {
			case i >= k.slots:
				holds(s == stateFree, "no state of slab %d beyond its slots: %d", u, s)
			case s == stateFree:
				n++
				holds(i/8 >= r.hint, "slot %d of slab %d is free, the hint is %d", i, u, r.hint)
			default:
				holds(i < r.fresh, "slot %d of slab %d was handed out, fresh is %d", i, u, r.fresh)
			}
		}
		holds(n == r.free, "slab %d has %d free slots, its record says %d", u, n, r.free)
		for v := u + 1; v < u+k.units; v++ {
			holds(*h.entry(uintptr(v)) == *e, "unit %d is of the slab at %d", v, u)
		}
	}
	holds(slabs == d.slabs && free == d.free, "class %d has %d slabs and %d free slots, its depot says %d and %d", c, slabs, free, d.slabs, d.free)
}

// check panics where an invariant of the heap does not hold. Nobody else uses it meanwhile.
func (h *Heap) check() {
	units := 0
	for i := range h.depots {
		c, d := uint8(i), &h.depots[i]
		d.mu.Lock()
		h.checkDepot(c, d)
		units += d.slabs * int(classes[c].units)
		d.mu.Unlock()
	}
	holds(h.space.Taken() == units, "%d units are in slabs, the space says %d", units, h.space.Taken())
	h.space.Check(func(u int) bool { return u < int(h.edge.Load()) && h.entry(uintptr(u)).taken() })
}
