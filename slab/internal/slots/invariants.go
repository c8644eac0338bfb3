package slots

import (
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// CheckList panics where an invariant of a list does not hold, and returns its slabs. Caller holds the lock of
// the class's depot.
func (t *Table) CheckList(l List) (slabs map[uint32]bool) {
	if l == 0 {
		return nil
	}
	slabs = map[uint32]bool{}
	for at, before := uint32(l), uint32(0); at != 0; {
		r := t.record(at - 1)
		invariant.Holds("slab", !slabs[at-1], "slab %d is listed once", at-1)
		invariant.Holds("slab", r.prev == before, "slab %d knows the slab before", at-1)
		invariant.Holds("slab", r.Free > 0, "slab %d has free slots", at-1)
		slabs[at-1] = true
		before, at = at, r.next
	}
	return slabs
}

// Check panics where an invariant of the slabs of a class does not hold, and calls visit for each of them. Caller
// holds the lock of the class's depot.
func (t *Table) Check(c uint8, visit func(first uint32, r *Record)) {
	k := &sizeclass.Table[c]
	want := template(c)
	for u := uint32(0); u < t.Edge(); u++ {
		e := *t.entry(uintptr(u))
		if !e.InSlab() || e.Class() != c || t.record(u).first != u {
			continue
		}
		r, states := t.record(u), e.states(u)
		slots := uint32(0)
		for i := range uint32(blockSize(k)) {
			s := *t.State(states + i)
			if i >= k.Blocks() || want[i] == none {
				invariant.Holds("slab", s == none, "no slot starts in block %d of slab %d, its state is %#x", i, u, s)
				continue
			}
			invariant.Holds("slab", s&placeMask == want[i]&placeMask, "the slot in block %d of slab %d starts at another place: %#x", i, u, s)
			if s&codeMask == free {
				slots++
				invariant.Holds("slab", i/8 >= r.hint, "slot %d of slab %d is free, the hint is %d", i, u, r.hint)
			} else {
				invariant.Holds("slab", s&codeMask&^referenced == live || s&codeMask&^clean == cached, "slot %d of slab %d has the state %#x", i, u, s)
				invariant.Holds("slab", i < r.fresh, "slot %d of slab %d was handed out, fresh is %d", i, u, r.fresh)
			}
		}
		invariant.Holds("slab", slots == r.Free, "slab %d has %d free slots, its record says %d", u, slots, r.Free)
		for v := u + 1; v < u+k.Units; v++ {
			invariant.Holds("slab", *t.entry(uintptr(v)) == e && t.record(v).first == u, "unit %d is of the slab at %d", v, u)
		}
		visit(u, r)
	}
}

// InSlab tells whether a unit is in a slab.
func (t *Table) InSlab(unit uint32) bool { return unit < t.Edge() && t.entry(uintptr(unit)).InSlab() }
