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
	charged := h.large.check()
	holds(units*unit+charged == h.account.Bytes(), "slabs have %d bytes and large objects %d, the account says %d", units*unit, charged, h.account.Bytes())
}

// check panics where an invariant of the large objects does not hold, and returns the bytes that are charged for them.
func (l *largeObjects) check() (charged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, asked, reserved := 0, 0, int64(0)
	for p, o := range l.objects {
		base, n := uintptr(o.region.Base()), int(o.region.Committed())
		holds(p >= base && p+uintptr(o.size) <= base+uintptr(o.region.Size()), "the object at %#x of %d bytes lies in its region at %#x", p, o.size, base)
		holds(o.size <= n, "the object at %#x has %d bytes, %d are committed", p, o.size, n)
		bytes += n
		asked += o.size
		reserved += o.region.Reserved()
	}
	holds(bytes == l.bytes && asked == l.asked, "large objects have %d bytes, %d were asked for, the sums say %d and %d", bytes, asked, l.bytes, l.asked)
	holds(reserved == l.reserved, "large objects have %d bytes of addresses, the sum says %d", reserved, l.reserved)
	cached, reserved := 0, int64(0)
	for i, r := range l.cache.regions {
		_, live := l.objects[uintptr(r.Base())]
		holds(!live, "the cached region at %p has no object", r.Base())
		holds(int64(r.bytes) == r.Committed(), "the cached region at %p has %d bytes committed, the cache says %d", r.Base(), r.Committed(), r.bytes)
		holds(i == 0 || int32(r.freed-l.cache.regions[i-1].freed) >= 0, "cached region %d is colder than the next", i-1)
		cached += r.bytes
		reserved += r.Reserved()
	}
	holds(cached == l.cache.bytes && len(l.cache.regions) <= maxCachedRegions, "%d cached regions have %d bytes, the cache says %d", len(l.cache.regions), cached, l.cache.bytes)
	holds(reserved == l.cache.reserved, "cached regions have %d bytes of addresses, the sum says %d", reserved, l.cache.reserved)
	for _, left := range l.left {
		charged += left.bytes
	}
	return charged + bytes + cached
}
