package slab

import (
	"cmp"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// Alloc returns size zeroed bytes, aligned to align: a power of two up to 1 MiB. Every object is aligned
// to 16 at least, whatever smaller align is given. The object lives until Free. Any goroutine may call
// it.
//
// The capacity is the size of the slot, and reads zero too, so append may use it; in a hardened heap the
// capacity is size. A size of 0 gives an object of its own, which must be freed, too.
//
// Alloc panics with an error that wraps guard.ErrNoMemory where there is no memory, with an error for a
// negative size or an impossible alignment, and with a *guard.Violation after Close.
//
// Cost: as AllocDirty, and clearing the slot unless it was never used.
func (h *Heap) Alloc(size, align int) []byte { return must(zeroed(h.get(size, align))) }

// TryAlloc is Alloc that returns its error.
func (h *Heap) TryAlloc(size, align int) ([]byte, error) {
	return zeroed(h.get(size, align))
}

// isNatural tells whether every slot has the alignment.
func isNatural(align int) bool { return uint(align-1) < granule && align&(align-1) == 0 }

// checkAlloc returns an error for a negative size or an impossible alignment. It panics if the heap is not
// open.
func (h *Heap) checkAlloc(size, align int) error {
	h.usable("Alloc")
	if size < 0 || align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return fmt.Errorf("slab: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
	}
	return nil
}

// zeroed clears the object that get returned, with its capacity, unless it reads zero already.
func zeroed(b []byte, clean bool, err error) ([]byte, error) {
	if !clean {
		clear(b[:cap(b)])
	}
	return b, err
}

// AllocDirty is Alloc without clearing: the bytes, up to the capacity, may hold anything.
//
// Cost: the class, the pin of the processor, a pop, a byte to compare and to write.
//
// Stores cost the most: they queue behind the user's stores to objects that are not in the CPU cache. So
// little is kept on the stack across the pin, and the capacity is looked up again behind it.
func (h *Heap) AllocDirty(size, align int) []byte {
	if uint(size) > largestTabled || !isNatural(align) || h == nil || h.hard != nil {
		return must(h.TryAllocDirty(size, align))
	}
	pc := percpu.Pin(&h.caches)
	if pc != nil {
		m := pc.magazine(tabledClass(size))
		if rest, ok := m.next(); ok {
			it := *m.at(uint32(rest))
			if h.claim(it) {
				m.n = rest
				percpu.Unpin(pc)
				return h.bytes(it, size, h.capacity(it))
			}
		}
	}
	percpu.Unpin(pc)
	return must(h.TryAllocDirty(size, granule)) // align is not kept across the pin
}

// TryAllocDirty is AllocDirty that returns its error.
func (h *Heap) TryAllocDirty(size, align int) ([]byte, error) {
	b, _, err := h.get(size, align)
	return b, err
}

// claim makes a cached slot live; false if it is not cached.
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
	return (*[2 * largestSlot]byte)(h.at(it))[: size : capacity%(2*largestSlot)]
}

// capacity returns the size of an item's slot.
func (h *Heap) capacity(it item) uint32 {
	return classes[h.entry(uintptr(it.at()>>(unitBits-4))).class].size
}

// get allocates an object of any size and alignment; clean tells whether it reads zero.
func (h *Heap) get(size, align int) (b []byte, clean bool, err error) {
	if h == nil || h.hard != nil {
		return h.getHardened(size, align)
	}
	if uint(size) <= largestSlot && isNatural(align) {
		return h.getSlot(classOf(uint(size)), size, granule)
	}
	if err := h.checkAlloc(size, align); err != nil {
		return nil, true, err
	}
	if c, ok := alignedClass(size, align); ok {
		return h.getSlot(c, size, align)
	}
	return h.getLarge(nil, size, align)
}

// alignedClass returns the class for an object with an alignment; ok is false if the object must be
// large. Slots lie at multiples of their size from the start of a unit, so the class is the smallest one
// whose size is a multiple of align.
func alignedClass(size, align int) (c uint8, ok bool) {
	if uint(size) > largestSlot || align > unit {
		return 0, false
	}
	for c := classOf(uint(max(size, align))); int(c) <= len(classTable); c++ {
		if classes[c].size%uint32(align) == 0 {
			return c, true
		}
	}
	return 0, false
}

// getSlot allocates an object of a class whose slots have the alignment.
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

// object makes a cached slot live and returns it as an object.
func (h *Heap) object(c uint8, it item, size int) []byte {
	if !h.isSlot(c, it) || !h.claim(it) {
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
	n, err := h.refill(nil, c, size, items[:max(classes[c].maxCached/2, 1)])
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

// Free takes an object back: b as Alloc returned it, or any slice of it that starts at the same byte,
// whatever its length and capacity. Any goroutine may free any object of the heap. Freeing nil does
// nothing. Free panics with a *guard.Violation, and changes nothing, if b is not a live object of the heap.
//
// The memory is kept for later objects for a while. A touch of it may go unnoticed until then, unless the heap is
// hardened.
//
// If len(b) is cap(b), b[len(b):] starts at the same byte as b in Go, so Free takes it for b.
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
		m := pc.magazine(e.class)
		if s, n, room := h.state(state), m.n, m.room; exact && *s == stateLive && uint32(n) < room {
			m.add(n, itemAt(off, state))
			*s = stateCached
			percpu.Unpin(pc)
			return
		}
	}
	percpu.Unpin(pc)
	h.freeSlowly(unsafe.Pointer(unsafe.SliceData(b)))
}

// find returns the entry of the unit at an offset, and the index of the state of the slot that starts
// there; exact is false if no slot does. The offset is below h.edge.
func (h *Heap) find(off uintptr) (e *entry, state uint32, exact bool) {
	e = h.entry(off >> unitBits)
	slot, exact := slotAt(e.magic, uint64(off-uintptr(e.first)<<unitBits))
	return e, e.states + uint32(slot), exact
}

// lookup finds the live object that starts at p; ok is false if there is none.
func (h *Heap) lookup(p unsafe.Pointer) (c uint8, it item, ok bool) {
	off := uintptr(p) - uintptr(h.base)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return 0, 0, false
	}
	e, state, exact := h.find(off)
	if !exact {
		return 0, 0, false
	}
	return e.class, itemAt(off, state), *h.state(state) == stateLive
}

// isLive tells whether an object starts at an offset.
func (h *Heap) isLive(off uintptr) bool {
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return false
	}
	_, state, exact := h.find(off)
	return exact && *h.state(state) == stateLive
}

// takeBack makes the slot of the object at p a cached one; ok is false if no object starts there.
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

// freeSlowly frees the object at p if the magazine is full, or the object lies in no slab.
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
	if pc != nil && classes[c].maxCached > 0 {
		n = pc.magazine(c).exchange(it, items[:])
	}
	percpu.Unpin(pc)
	bad = h.flush(c, processors, items[:n])
	return cmp.Or(bad, h.mayDecay(nil))
}

// freeOther frees a large or sampled object, and panics if p is neither.
func (h *Heap) freeOther(p unsafe.Pointer) {
	h.usable("Free")
	if h.freeLarge(p) || h.freeSampled(p) {
		return
	}
	panic(h.noObject("Free", p))
}
