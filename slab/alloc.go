package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Alloc returns size zeroed bytes, aligned to 16. The capacity is that of the slot, all of it
// zero, so append may use it. It panics with an error that wraps guard.ErrNoMemory where there is
// no memory, and for a negative size.
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
	if uint(size) <= tabled {
		f := h.fronts.enter()
		if f != nil {
			m := f.magazine(tabledClass(size))
			if it, ok := m.top(); ok && h.claim(it) {
				m.n--
				h.fronts.leave(f)
				return h.bytes(it, size, h.capacity(it))
			}
		}
		h.fronts.leave(f)
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
	if h.hard != nil {
		return h.getHardened(size, granule)
	}
	if uint(size) > largestSlot {
		return h.getLarge(size, granule)
	}
	c := classOf(uint(size))
	var it item
	ok := false
	f := h.fronts.enter()
	if f != nil {
		it, ok = f.magazine(c).pop()
	}
	h.fronts.leave(f)
	if !ok {
		if it, err = h.fetch(&h.fronts, c, size); err != nil {
			return nil, true, err
		}
	}
	return h.object(it, size), it.clean(), nil
}

// object makes an object of a cached slot.
func (h *Heap) object(it item, size int) []byte {
	if !h.claim(it) {
		panic(h.freedTwice(it))
	}
	return h.bytes(it, size, h.capacity(it))
}

// freedTwice is the violation of two that freed one object at the same time.
func (h *Heap) freedTwice(it item) *guard.Violation {
	return h.violation("Alloc", "a slot was freed twice at the same time", h.at(it))
}

// fetch gets cached slots from the depot: one to use, the others for the magazine in one of the
// fronts.
func (h *Heap) fetch(fs *fronts, c uint8, size int) (item, error) {
	h.mayDecay(nil)
	var items batch
	n, err := h.refill(c, processors, size, items[:max(min(classes[c].most, fs.most)/2, 1)])
	if err != nil {
		return 0, err
	}
	n--
	stocked := 0
	f := fs.enterNew()
	if f != nil {
		stocked = f.magazine(c).stock(items[:n])
	}
	fs.leave(f)
	if stocked < n {
		h.flush(c, processors, items[stocked:n])
	}
	return items[n], nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Free takes an object back: b as Alloc returned it, or a slice of it that starts at the same
// byte. Freeing nil does nothing. What is no object of the heap, or not any more, is a
// *guard.Violation.
//
// Cost: the entry of the unit, a multiplication, a byte to compare and to write, the pin, a push.
func (h *Heap) Free(b []byte) {
	f := h.fronts.enter()
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(h.base) // wraps below the base
	if f != nil && off>>unitBits < uintptr(h.edge.Load()) {
		e, state, exact := h.find(off)
		if s := h.state(state); exact && *s == stateLive && f.magazine(e.class).push(newItem(uint32(off/granule), state)) {
			*s = stateCached
			h.fronts.leave(f)
			return
		}
	}
	h.fronts.leave(f)
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
	c, it, ok = h.lookup(p)
	if ok {
		*h.state(it.state()) = stateCached
	}
	return c, it, ok
}

// freeSlowly is Free where the magazine is full, or there is no object in a slab.
func (h *Heap) freeSlowly(p unsafe.Pointer) {
	if h.hard != nil {
		h.freeHardened(p)
		return
	}
	if c, it, ok := h.takeBack(p); ok {
		h.put(&h.fronts, c, it)
		return
	}
	h.freeOther(p)
}

// put puts a cached slot into the magazine in one of the fronts. If that is full, the older half goes
// to the depot.
func (h *Heap) put(fs *fronts, c uint8, it item) {
	h.mayDecay(nil)
	f := fs.enterNew()
	if f == nil || classes[c].most == 0 {
		fs.leave(f)
		h.flush(c, processors, []item{it})
		return
	}
	var items batch
	n := f.magazine(c).exchange(it, items[:])
	fs.leave(f)
	if n > 0 {
		h.flush(c, processors, items[:n])
	}
}

// freeOther frees what lies in no slab, or says why it cannot be freed.
func (h *Heap) freeOther(p unsafe.Pointer) {
	if p == nil {
		return
	}
	h.usable("Free")
	if h.freeLarge(p) {
		return
	}
	panic(h.noObject("Free", p))
}

// noObject says why there is no object at p.
func (h *Heap) noObject(op string, p unsafe.Pointer) *guard.Violation {
	off := uintptr(p) - uintptr(h.base)
	v := h.violation(op, "", p)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		v.What = "pointer into other memory"
		if h.inLarge(p) {
			v.What = "pointer that is not the start of an object"
		}
		return v
	}
	e, state, exact := h.find(off)
	switch {
	case e.class == 0:
		v.What = "freed already, or never allocated"
	case !exact:
		v.What = "pointer that is not the start of an object"
	case *h.state(state) == stateLive:
		v.What = "freed and allocated again at the same time"
	default:
		v.What = "freed already, or never allocated"
	}
	return v
}
