package slab

import (
	"cmp"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// Alloc returns size zeroed bytes, aligned to 16. The capacity is that of the slot, all of it zero,
// so append may use it; in a hardened heap it is size. It panics with an error that wraps
// guard.ErrNoMemory where there is no memory, and for a negative size.
func (h *Heap) Alloc(size int) []byte { return must(h.TryAlloc(size)) }

// TryAlloc is Alloc that returns its error.
func (h *Heap) TryAlloc(size int) ([]byte, error) {
	return zeroed(h.get(size))
}

// zeroed clears what get returned, unless it is clean.
func zeroed(b []byte, clean bool, err error) ([]byte, error) {
	if !clean {
		clear(b[:cap(b)])
	}
	return b, err
}

// AllocDirty is Alloc without the zeroes: the bytes may be anything.
//
// Cost: the class, the pin, a pop, a byte to compare and to write. What counts is the number of
// stores: they queue behind those that the user makes to objects that are not in the cache. So
// little is kept across the calls that pin, and the capacity is found anew.
func (h *Heap) AllocDirty(size int) []byte {
	if uint(size) <= tabled && h != nil && h.hard == nil {
		pc := percpu.Pin(&h.caches)
		if pc != nil {
			m := pc.magazine(tabledClass(size))
			if it, rest, ok := m.top(); ok && h.claim(it) {
				m.n = rest
				percpu.Unpin(pc)
				return h.bytes(it, size, h.capacity(it))
			}
		}
		percpu.Unpin(pc)
	}
	return must(h.TryAllocDirty(size))
}

// TryAllocDirty is AllocDirty that returns its error.
func (h *Heap) TryAllocDirty(size int) ([]byte, error) {
	b, _, err := h.get(size)
	return b, err
}

// claim makes a cached slot an object's. It is false for one that is not cached.
func (h *Heap) claim(it item) bool {
	s := h.state(it.state())
	if *s != stateCached {
		return false
	}
	*s = stateLive
	h.markAlloc(it.state())
	return true
}

// bytes returns the object in a slot.
func (h *Heap) bytes(it item, size int, capacity uint32) []byte {
	return unsafe.Slice((*byte)(h.at(it)), capacity)[:size]
}

// capacity is the size of a slot.
func (h *Heap) capacity(it item) uint32 {
	return classes[h.entry(uintptr(it.at()>>(unitBits-4))).class].size
}

// get takes a slot for an object of any size.
func (h *Heap) get(size int) (b []byte, clean bool, err error) {
	if h == nil || h.hard != nil {
		return h.getHardened(size, granule)
	}
	if uint(size) > largestSlot {
		return h.getLarge(nil, size, granule)
	}
	return h.getSlot(classOf(uint(size)), size, granule)
}

// getSlot is get of a class that has the alignment.
func (h *Heap) getSlot(c uint8, size, align int) (b []byte, clean bool, err error) {
	it, ok := pop(&h.caches, c)
	if !ok {
		if h.usable("Alloc"); due(&h.caches, c) {
			if b, ok = h.sample(size, align); ok {
				return b, true, nil
			}
		}
		if it, err = h.fetch(&h.caches, c, size); err != nil {
			return nil, true, err
		}
	}
	return h.object(c, it, size), it.clean(), nil
}

// getFor is get, for a Local or, nil, a processor, of what caches have no fast path for.
func (h *Heap) getFor(l *Local, size int) (b []byte, clean bool, err error) {
	if h.hard != nil {
		return h.getHardened(size, granule)
	}
	return h.getLarge(l, size, granule)
}

// object makes an object of a cached slot.
func (h *Heap) object(c uint8, it item, size int) []byte {
	if !h.sound(c, it) || !h.claim(it) {
		panic(h.freedTwice("Alloc", it))
	}
	return h.bytes(it, size, classes[c].size)
}

// fetch gets a cached slot where an allocation was due, or the magazine is empty: then from the
// depot, and others for the magazine of the processor.
func (h *Heap) fetch(t *percpu.Table[cache], c uint8, size int) (item, error) {
	if it, ok := popUncounted(t, c); ok {
		return it, nil
	}
	var items batch
	n, err := h.refill(nil, c, size, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return 0, err
	}
	stocked := 0
	pc := percpu.PinNew(t, newCache)
	if pc != nil {
		stocked = pc.magazine(c).fill(items[:n-1])
	}
	percpu.Unpin(pc)
	return h.keep(c, processors, items[:n], stocked), nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Free takes an object back: b as Alloc returned it, or a slice of it that starts at the same byte.
// In Go b[cap(b):] does so too. Freeing nil does nothing. What is no object of the heap, or not any
// more, is a *guard.Violation.
//
// Cost: the entry of the unit, a multiplication, a byte to compare and to write, the pin, a push.
func (h *Heap) Free(b []byte) {
	h.markWrite(unsafe.Pointer(unsafe.SliceData(b)))
	if h == nil || h.hard != nil {
		h.freeHardened(unsafe.Pointer(unsafe.SliceData(b)))
		return
	}
	pc := percpu.Pin(&h.caches)
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(h.base) // wraps below the base
	if pc != nil && off>>unitBits < uintptr(h.edge.Load()) {
		e, state, exact := h.find(off)
		if s := h.state(state); exact && *s == stateLive && pc.magazine(e.class).push(newItem(uint32(off/granule), state)) {
			*s = stateCached
			percpu.Unpin(pc)
			return
		}
	}
	percpu.Unpin(pc)
	h.freeSlowly(unsafe.Pointer(unsafe.SliceData(b)))
}

// find returns what is known of the unit at an offset, which must be below the edge, and where the
// state of the slot is that starts there; exact is false if none does.
func (h *Heap) find(off uintptr) (e *entry, state uint32, exact bool) {
	e = h.entry(off >> unitBits)
	slot, exact := slotAt(e.magic, uint64(off-uintptr(e.first)<<unitBits))
	return e, e.states + uint32(slot), exact
}

// lookup finds the object that starts at p, as Free does; ok is false if there is none.
func (h *Heap) lookup(p unsafe.Pointer) (c uint8, it item, ok bool) {
	off := uintptr(p) - uintptr(h.base)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return 0, 0, false
	}
	e, state, exact := h.find(off)
	if !exact {
		return 0, 0, false
	}
	return e.class, newItem(uint32(off/granule), state), *h.state(state) == stateLive
}

// takeBack makes a cached slot of the object at p, as Free does; ok is false if there is none.
func (h *Heap) takeBack(p unsafe.Pointer) (c uint8, it item, ok bool) {
	if h.hard != nil {
		return h.retire(p)
	}
	if c, it, ok = h.lookup(p); !ok {
		return 0, 0, false
	}
	*h.state(it.state()) = stateCached
	return c, it, true
}

// freeSlowly is Free where the magazine is full, or there is no object in a slab.
func (h *Heap) freeSlowly(p unsafe.Pointer) {
	if h.made("Free"); p == nil {
		return
	}
	c, it, ok := h.takeBack(p)
	if !ok {
		h.freeOther(p)
		return
	}
	raise(h.put(c, it))
}

// put puts a cached slot into the processor's magazine. If that is full, the older half goes to the
// depot.
func (h *Heap) put(c uint8, it item) (bad *guard.Violation) {
	t := h.returns()
	pc := percpu.PinNew(t, newCache)
	pushed := pc != nil && pc.magazine(c).push(it)
	percpu.Unpin(pc)
	if pushed {
		return nil
	}
	items := batch{it}
	n := 1
	pc = percpu.Pin(t)
	if pc != nil && classes[c].most > 0 {
		n = pc.magazine(c).exchange(it, items[:])
	}
	percpu.Unpin(pc)
	bad = h.flush(c, processors, items[:n])
	return cmp.Or(bad, h.mayDecay(nil))
}

// freeOther frees what lies in no slab, or says why it cannot be freed.
func (h *Heap) freeOther(p unsafe.Pointer) {
	h.usable("Free")
	if h.freeLarge(p) || h.freeSampled(p) {
		return
	}
	panic(h.noObject("Free", p))
}
