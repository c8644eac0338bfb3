package slab

import (
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

// checkDepot panics where an invariant of a class does not hold. Its lock is held.
func (h *Heap) checkDepot(c uint8, d *depot) {
	listed := map[uint32]bool{}
	for owner, list := range d.partial {
		for first := range h.slots.CheckList(list) {
			invariant.Holds("slab", int(h.slots.Record(first).Owner) == owner, "slab %d is in the list of its owner %d: %d", first, h.slots.Record(first).Owner, owner)
			invariant.Holds("slab", !listed[first], "slab %d is listed once", first)
			listed[first] = true
		}
	}
	invariant.Holds("slab", len(d.givers) == len(d.batches), "%d batches have %d givers", len(d.batches), len(d.givers))
	empty := h.slots.CheckList(d.empty)
	invariant.Holds("slab", len(empty) <= 1, "%d empty slabs are kept", len(empty))
	count, free := 0, 0
	h.slots.Check(c, func(first uint32, r *slots.Record) {
		count++
		free += int(r.Free)
		invariant.Holds("slab", listed[first] == (r.Free > 0 && !empty[first]), "slab %d with %d free slots is listed: %v", first, r.Free, listed[first])
		invariant.Holds("slab", !empty[first] || r.Free == sizeclass.Table[c].Slots, "the empty slab has %d free slots", r.Free)
	})
	invariant.Holds("slab", count == d.slabs && free == d.free, "class %d has %d slabs and %d free slots, its depot says %d and %d", c, count, free, d.slabs, d.free)
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
	invariant.Holds("slab", h.space.Taken() == units, "%d units are in slabs, the space says %d", units, h.space.Taken())
	h.space.Check(func(u int) bool { return h.slots.InSlab(uint32(u)) })
	charged := h.large.check()
	if h.config.LimitCommitted {
		charged += int(h.region.Committed())
		for _, r := range h.metadata() {
			charged += int(r.Committed())
		}
		units = 0
	}
	invariant.Holds("slab", units*unit+charged == h.account.Bytes(), "slabs have %d bytes and large objects %d, the account says %d", units*unit, charged, h.account.Bytes())
}

// check panics where an invariant of the large objects does not hold, and returns the bytes that are charged for them.
func (l *largeObjects) check() (charged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, asked, named, reserved := 0, 0, 0, int64(0)
	for p, o := range l.objects {
		base, n := uintptr(o.region.Base()), int(o.region.Committed())
		invariant.Holds("slab", p >= base && p+uintptr(o.size) <= base+uintptr(o.region.Size()), "the object at %#x of %d bytes lies in its region at %#x", p, o.size, base)
		invariant.Holds("slab", o.size <= n, "the object at %#x has %d bytes, %d are committed", p, o.size, n)
		bytes += n
		asked += o.size
		reserved += o.region.Reserved()
		if o.name != 0 {
			named++
			invariant.Holds("slab", l.names[o.name] == p, "the object at %#x is found by its name %d: %#x", p, o.name, l.names[o.name])
		}
	}
	invariant.Holds("slab", named == len(l.names), "%d objects have names, %d names are known", named, len(l.names))
	invariant.Holds("slab", bytes == l.bytes && asked == l.asked, "large objects have %d bytes, %d were asked for, the sums say %d and %d", bytes, asked, l.bytes, l.asked)
	invariant.Holds("slab", reserved == l.reserved, "large objects have %d bytes of addresses, the sum says %d", reserved, l.reserved)
	cached, reserved := 0, int64(0)
	for i, r := range l.cache.regions {
		_, live := l.objects[uintptr(r.Base())]
		invariant.Holds("slab", !live, "the cached region at %p has no object", r.Base())
		invariant.Holds("slab", int64(r.bytes) == r.Committed(), "the cached region at %p has %d bytes committed, the cache says %d", r.Base(), r.Committed(), r.bytes)
		invariant.Holds("slab", i == 0 || int32(r.freed-l.cache.regions[i-1].freed) >= 0, "cached region %d is colder than the next", i-1)
		cached += r.bytes
		reserved += r.Reserved()
	}
	invariant.Holds("slab", cached == l.cache.bytes && len(l.cache.regions) <= maxCachedRegions, "%d cached regions have %d bytes, the cache says %d", len(l.cache.regions), cached, l.cache.bytes)
	invariant.Holds("slab", reserved == l.cache.reserved, "cached regions have %d bytes of addresses, the sum says %d", reserved, l.cache.reserved)
	for _, left := range l.left {
		charged += left.bytes
	}
	return charged + bytes + cached
}
