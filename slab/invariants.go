package slab

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
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
	listed := map[uint32]bool{}
	for owner, list := range d.partial {
		for first := range h.slots.CheckList(list) {
			holds(int(h.slots.Record(first).Owner) == owner, "slab %d is in the list of its owner %d: %d", first, h.slots.Record(first).Owner, owner)
			holds(!listed[first], "slab %d is listed once", first)
			listed[first] = true
		}
	}
	holds(len(d.givers) == len(d.batches), "%d batches have %d givers", len(d.batches), len(d.givers))
	empty := h.slots.CheckList(d.empty)
	holds(len(empty) <= 1, "%d empty slabs are kept", len(empty))
	count, free := 0, 0
	h.slots.Check(c, func(first uint32, r *slots.Record) {
		count++
		free += int(r.Free)
		holds(listed[first] == (r.Free > 0 && !empty[first]), "slab %d with %d free slots is listed: %v", first, r.Free, listed[first])
		holds(!empty[first] || r.Free == sizeclass.Table[c].Slots, "the empty slab has %d free slots", r.Free)
	})
	holds(count == d.slabs && free == d.free, "class %d has %d slabs and %d free slots, its depot says %d and %d", c, count, free, d.slabs, d.free)
}

// check panics where an invariant of the heap does not hold. Nobody else uses it meanwhile.
func (h *Heap) check() {
	units := 0
	for i := range h.depots {
		c, d := uint8(i), &h.depots[i]
		d.mu.Lock()
		h.checkDepot(c, d)
		units += d.slabs * int(sizeclass.Table[c].Units)
		d.mu.Unlock()
	}
	holds(h.space.Taken() == units, "%d units are in slabs, the space says %d", units, h.space.Taken())
	h.space.Check(func(u int) bool { return h.slots.InSlab(uint32(u)) })
}
