package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// client allocates and frees for one caller, behind the fast paths: for a Local, which has a cache, or for a goroutine
// without one, which uses the cache of its processor. In a hardened heap a processor has two caches: one to take
// slots from, and one for freed slots, which go into quarantine together. The goroutine is pinned to its processor
// while it looks at a processor's cache.
//
// The size given to Alloc, and the pointer given to Free, come through here:
//
//	get   class ─▶ take ───────────────────────────────▶ claim ─▶ object
//	                 └ empty ─▶ sample? ─▶ depot ─▶ slab ──┘
//	put   find ─▶ cached ─▶ give
//	                          └ full ─▶ depot ─▶ slab
type client struct {
	heap  *Heap
	cache *cache // of a Local; nil for a processor
	owner uint8  // the group of caches: see depot
}

// client returns the client of a goroutine without a Local.
func (h *Heap) client() client { return client{heap: h, owner: processors} }

// client returns the client of the Local. In a hardened heap Locals cache nothing.
func (l *Local) client() client {
	if l.heap.hard != nil {
		return l.heap.client()
	}
	return client{l.heap, &l.cache, l.owner}
}

// enter returns the cache of a Local, or else the processor's in a table, nil if it has none, and pins the
// processor. Until leave the code may do only what percpu allows.
func (k client) enter(t *percpu.Table[cache]) *cache {
	if k.cache != nil {
		return k.cache
	}
	return percpu.Pin(t)
}

// enterNew is enter that makes a cache for a processor that has none.
func (k client) enterNew(t *percpu.Table[cache]) *cache {
	if k.cache != nil {
		return k.cache
	}
	return percpu.PinNew(t, newCache)
}

func (k client) leave(pc *cache) {
	if k.cache == nil {
		percpu.Unpin(pc)
	}
}

// get allocates an object of any size and alignment; clean tells whether it reads zero.
func (k client) get(size, align int) (b []byte, clean bool, err error) {
	h := k.heap
	if err := checkAlloc(size, align); err != nil {
		return nil, true, err
	}
	c, ok := h.class(size, align)
	if !ok {
		return h.getLarge(k, size, align)
	}
	it, ok := k.take(c)
	if !ok {
		if k.due(c) {
			if b, ok = h.sample(size, align); ok {
				return b, true, nil
			}
		}
		if it, err = k.refill(c, size); err != nil {
			return nil, true, err
		}
	}
	if h.hard != nil {
		return h.adopt(c, it, size)
	}
	clean = h.slots.State(it.State()).IsClean()
	if !h.slots.Holds(c, it) || !h.claim(it) {
		panic(h.freedTwice("Alloc", it))
	}
	return h.bytes(it, size, sizeclass.Table[c].Size), clean, nil
}

// class returns the class for a size and an alignment; ok is false if the object must be large.
func (h *Heap) class(size, align int) (c uint8, ok bool) {
	if h.hard != nil {
		return hardenedClass(size, align)
	}
	return sizeclass.For(size, align)
}

// claim makes a slot an object; false if it is not cached.
func (h *Heap) claim(it slots.Item) bool {
	s := h.slots.State(it.State())
	if !s.IsCached() {
		return false
	}
	*s = s.Claimed()
	h.markAlloc(it.State())
	if h.slots.HasGenerations() {
		*h.slots.Generation(it.Offset())++
	}
	return true
}

// bytes returns the object in a slot.
func (h *Heap) bytes(it slots.Item, size int, capacity uint32) []byte {
	return unsafe.Slice((*byte)(h.slots.At(it)), capacity)[:size]
}

// take takes a slot of a class from the cache; ok is false if there is none, or an allocation is due.
func (k client) take(c uint8) (it slots.Item, ok bool) {
	pc := k.enter(k.heap.stock)
	if pc != nil {
		it, ok = pc.magazine(c).pop()
	}
	k.leave(pc)
	return it, ok
}

// due counts an allocation for which take had no slot, and tells whether it is to be sampled.
func (k client) due(c uint8) bool {
	pc := k.enterNew(k.heap.stock)
	due := pc != nil && pc.magazine(c).due()
	k.leave(pc)
	if pc == nil { // it cannot be counted
		pass, sample := sampled.Draw()
		return pass == 0 && sample
	}
	return due
}

// refill gets a slot of a class where an allocation was due, or the magazine is empty: then from the depot, and
// others for the magazine, half as many as it has room for.
func (k client) refill(c uint8, size int) (slots.Item, error) {
	h := k.heap
	pc := k.enter(h.stock)
	if pc != nil {
		if it, ok := pc.magazine(c).popUncounted(); ok {
			k.leave(pc)
			return it, nil
		}
	}
	k.leave(pc)
	room := sizeclass.Table[c].MaxCached
	if k.cache != nil {
		m := k.cache.magazine(c)
		m.grow(room)
		room = m.room
	}
	var items batch
	n, err := k.fetch(c, size, items[:max(room/2, 1)])
	if err != nil {
		return 0, err
	}
	stocked := 0
	pc = k.enterNew(h.stock)
	if pc != nil {
		stocked = pc.magazine(c).fill(items[:n-1])
	}
	k.leave(pc)
	// The last is for the object. Others may have filled the magazine meanwhile, or the user's OnSoft: then
	// the depot takes the rest. If one of these was freed twice at the same moment, nobody gets the object.
	if stocked < n-1 {
		if _, bad := h.flush(c, k.owner, items[stocked:n-1]); bad != nil {
			h.giveBack(c, items[n-1:n])
			h.usable("Alloc")
			panic(bad)
		}
	}
	return items[n-1], nil
}

// fetch fills out, or a part of it, with cached slots from the depot, for a request of size bytes. The first slot is
// to be handed out last.
func (k client) fetch(c uint8, size int, out []slots.Item) (n int, err error) {
	h := k.heap
	now := ticks()
	raise(k.decay(now))
	n, err = h.stockUp(c, k.owner, size, out)
	if err != nil && k.reclaim(now, err) {
		n, err = h.stockUp(c, k.owner, size, out)
	}
	if err != nil && region.Reclaim() {
		_ = h.sweepLarge() // large objects that OnSoft has freed
		n, err = h.stockUp(c, k.owner, size, out)
	}
	if err != nil {
		h.usable("Alloc")
		return 0, prefixed(err)
	}
	region.ReclaimOr(func() { h.giveBack(c, out[:n]) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return n, nil
}

// put frees the object at p; op is the call that violations name. It panics, and changes nothing, if no object is there.
func (k client) put(op string, p unsafe.Pointer) {
	h := k.heap
	h.usable(op)
	h.markWrite(p)
	c, it, ok := h.takeBack(p)
	if !ok {
		h.freeOther(op, p)
		return
	}
	if !k.push(c, it) {
		raise(k.give(c, it))
	}
}

// push puts a cached slot into the cache; false if it has no room. give would make a batch first: an Alloc, a Ref and
// a Free, which no fast path does then, take 53 ns instead of 63.
func (k client) push(c uint8, it slots.Item) bool {
	if k.cache != nil {
		return k.cache.magazine(c).push(it)
	}
	return pushFast(k.heap.freed, sizeclass.CachedAt(c), it)
}

// takeBack makes the slot of the object at p a cached one; ok is false if no object starts there.
func (h *Heap) takeBack(p unsafe.Pointer) (c uint8, it slots.Item, ok bool) {
	if h.hard != nil {
		c, it, ok = h.retire(p)
	} else if c, it, ok = h.slots.Object(p); ok {
		h.usable("Free") // before anything is written: the metadata of a closed heap reads as if all were live
		s := h.slots.State(it.State())
		*s = s.Claimed().Freed()
	}
	if ok && h.slots.HasGenerations() { // before anybody else can get the slot
		h.slots.EndGeneration(it.Offset())
	}
	return c, it, ok
}

// give puts a cached slot into the cache. If the magazine is full, the older half of it goes to the depot.
func (k client) give(c uint8, it slots.Item) (bad *guard.Violation) {
	h, most := k.heap, sizeclass.Table[c].MaxCached
	if k.cache != nil && k.cache.magazine(c).isFull() {
		k.cache.magazine(c).grow(most)
	}
	items := batch{it}
	n := 1
	pc := k.enterNew(h.freed)
	if pc != nil && most > 0 {
		n = pc.magazine(c).exchange(it, items[:])
	}
	k.leave(pc)
	if n == 0 {
		return nil
	}
	look, bad := h.flush(c, k.owner, items[:n])
	if look && bad == nil {
		bad = k.decay(ticks())
	}
	return bad
}

// freeOther frees a large or sampled object, and panics if p is neither.
func (h *Heap) freeOther(op string, p unsafe.Pointer) {
	h.usable(op)
	if h.freeLarge(p) || h.freeSampled(p) {
		return
	}
	panic(h.noObject(op, p))
}
