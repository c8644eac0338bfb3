package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// The fast paths. A public call is a wrapper that is inlined, around a leaf below. A leaf takes a slot from the
// cache of the processor or Local, or puts one there, or does nothing: then the slow path does all of it, and
// finds out why (see client).
//
// A leaf is nosplit, not inlined, and calls nothing but percpu.Processor, which is the reason: nobody else runs on the
// processor until the leaf returns, and the world does not stop. So it needs no pin (a Heap's pair of Alloc and Free
// takes 5.2 ns instead of 7.7), and Close, which stops the world, waits for the leaves of Locals as well.
//
// The leaves of Heap and Local, and of Pool, say the same twice: one that took the cache as an argument would be a
// second call. In builds for the race detector there is no fast path: Processor says no.

// allocFast takes a slot for size bytes from the processor's cache; nil if that has none. was is the state that
// the slot had.
//
// Cost: the class, the magazine, the item, the slot's state.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (h *Heap) allocFast(size int) (p unsafe.Pointer, capacity uint32, was slots.State) {
	if h == nil || uint(size) > sizeclass.LargestTabled {
		return nil, 0, 0
	}
	id, ok := percpu.Processor()
	if !ok {
		return nil, 0, 0
	}
	pc := h.caches.At(id)
	if pc == nil {
		return nil, 0, 0
	}
	m := pc.at(sizeclass.Tabled(size))
	rest := m.rest()
	if int64(rest) < 0 {
		return nil, 0, 0
	}
	it := *m.at(int32(rest))
	s := h.slots.State(it.State())
	if was = *s; !was.IsCached() {
		return nil, 0, 0
	}
	*s = was.Claimed()
	m.n = rest
	return h.slots.At(it), m.size, was
}

// allocFast is Heap.allocFast for a Local.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (l *Local) allocFast(size int) (p unsafe.Pointer, capacity uint32, was slots.State) {
	if race.Enabled || l == nil || uint(size) > sizeclass.LargestTabled {
		return nil, 0, 0
	}
	h, m := l.heap, l.cache.at(sizeclass.Tabled(size))
	rest := m.rest()
	if int64(rest) < 0 {
		return nil, 0, 0
	}
	it := *m.at(int32(rest))
	s := h.slots.State(it.State())
	if was = *s; !was.IsCached() {
		return nil, 0, 0
	}
	*s = was.Claimed()
	m.n = rest
	return h.slots.At(it), m.size, was
}

// freeFast puts the slot of the object at p into the processor's cache; false if that has no room, or there is no
// object at p.
//
// Cost: the entry of the unit, the slot's state, the magazine, the item.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (h *Heap) freeFast(p unsafe.Pointer) bool {
	if h == nil {
		return false
	}
	id, ok := percpu.Processor()
	if !ok {
		return false
	}
	pc := h.caches.At(id)
	off := h.slots.Offset(p)
	if pc == nil || !h.slots.Covers(off) {
		return false
	}
	e := h.slots.EntryAt(off)
	i, place := e.Locate(off)
	s, m := h.slots.State(i), pc.at(e.Cached())
	is, n := *s, m.n
	if !is.LiveAt(place) || uint32(n) >= m.room {
		return false
	}
	*s = is.Freed()
	m.add(n, slots.NewItem(off, i))
	return true
}

// freeFast is Heap.freeFast for a Local.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (l *Local) freeFast(p unsafe.Pointer) bool {
	if race.Enabled || l == nil || l.heap == nil {
		return false
	}
	h := l.heap
	off := h.slots.Offset(p)
	if !h.slots.Covers(off) {
		return false
	}
	e := h.slots.EntryAt(off)
	i, place := e.Locate(off)
	s, m := h.slots.State(i), l.cache.at(e.Cached())
	is, n := *s, m.n
	if !is.LiveAt(place) || uint32(n) >= m.room {
		return false
	}
	*s = is.Freed()
	m.add(n, slots.NewItem(off, i))
	return true
}

// getFast is allocFast for a Pool: it also begins the generation of the object.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (p *pool) getFast() unsafe.Pointer {
	if p == nil || p.heap == nil {
		return nil
	}
	id, ok := percpu.Processor()
	if !ok {
		return nil
	}
	pc := p.heap.caches.At(id)
	if pc == nil {
		return nil
	}
	h, m := p.heap, pc.at(p.cached)
	rest := m.rest()
	if int64(rest) < 0 {
		return nil
	}
	it := *m.at(int32(rest))
	s := h.slots.State(it.State())
	was := *s
	if !was.IsCached() {
		return nil
	}
	*s = was.Claimed()
	m.n = rest
	*h.slots.Generation(it.Offset())++
	return h.slots.At(it)
}

// putFast is freeFast for a Pool: it also ends the generation of the object.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (p *pool) putFast(x unsafe.Pointer) bool {
	if p == nil || p.heap == nil {
		return false
	}
	id, ok := percpu.Processor()
	if !ok {
		return false
	}
	pc := p.heap.caches.At(id)
	h := p.heap
	off := h.slots.Offset(x)
	if pc == nil || !h.slots.Covers(off) {
		return false
	}
	i, place := h.slots.EntryAt(off).Locate(off)
	s, m := h.slots.State(i), pc.at(p.cached)
	is, n := *s, m.n
	if !is.LiveAt(place) || uint32(n) >= m.room {
		return false
	}
	*s = is.Freed()
	m.add(n, slots.NewItem(off, i))
	h.slots.EndGeneration(off)
	return true
}

// popHardened pops a slot for an object of size bytes and its canary, and returns the class, too. The item is 0 if the
// processor's cache has none, or an allocation is due. With adopt it replaces client.get, which takes three times as many
// calls and stores. Stores queue behind the poison: replacing one of 1,000 objects takes 118 ns instead of 150.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (h *Heap) popHardened(size int) (c uint8, it slots.Item) {
	if uint(size-1) >= sizeclass.LargestTabled-canarySize {
		return 0, 0
	}
	id, ok := percpu.Processor()
	if !ok {
		return 0, 0
	}
	pc := h.stock.At(id)
	if pc == nil {
		return 0, 0
	}
	cached := sizeclass.Tabled(size + canarySize)
	m := pc.at(cached)
	rest := m.rest()
	if int64(rest) < 0 {
		return 0, 0
	}
	if it = *m.at(int32(rest)); it != 0 {
		m.n = rest
	}
	return uint8(cached / 64), it
}

// pushFast puts a slot into the processor's cache in a table; false if there is no room. It is the second half of Free in
// a hardened heap.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func pushFast(t *percpu.Table[cache], cached uintptr, it slots.Item) bool {
	id, ok := percpu.Processor()
	if !ok {
		return false
	}
	pc := t.At(id)
	if pc == nil {
		return false
	}
	m := pc.at(cached)
	n := m.n
	if uint32(n) >= m.room {
		return false
	}
	m.add(n, it)
	return true
}
