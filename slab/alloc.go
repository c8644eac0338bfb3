package slab

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
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
// Cost: the class, the pin, a pop, a byte to compare and to write.
func (h *Heap) AllocDirty(size int) []byte {
	if uint(size) <= largestSlot {
		c := classOf(uint(size))
		if f := h.enter(); f != nil {
			it, ok := f.pop(c)
			h.leave(f)
			if ok && h.claim(it) {
				return h.bytes(c, it, size)
			}
			return h.allocSlowly(c, it, ok, size)
		}
		h.leave(nil)
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
func (h *Heap) bytes(c uint8, it item, size int) []byte {
	p := (*byte)(unsafe.Add(h.base, uintptr(it.at())*granule))
	return unsafe.Slice(p, classes[c].size)[:size]
}

// get takes a slot for an object of any size.
func (h *Heap) get(size int) (b []byte, clean bool, err error) {
	if uint(size) > largestSlot {
		return h.getLarge(size)
	}
	c := classOf(uint(size))
	var it item
	ok := false
	f := h.enter()
	if f != nil {
		it, ok = f.pop(c)
	}
	h.leave(f)
	if !ok {
		if it, err = h.fetch(c); err != nil {
			return nil, true, err
		}
	}
	return h.object(c, it, size), it.clean(), nil
}

// allocSlowly is AllocDirty where nothing came out of the magazine, or what must not be there.
func (h *Heap) allocSlowly(c uint8, it item, popped bool, size int) []byte {
	if !popped {
		it = must(h.fetch(c))
	}
	return h.object(c, it, size)
}

// object makes an object of a cached slot.
func (h *Heap) object(c uint8, it item, size int) []byte {
	if !h.claim(it) {
		panic(h.violation("Alloc", "a slot was freed twice at the same time", it.at()))
	}
	return h.bytes(c, it, size)
}

// fetch gets cached slots from the depot: one to use, the others for the magazine.
func (h *Heap) fetch(c uint8) (item, error) {
	var items batch
	n, err := h.refill(c, processors, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return 0, err
	}
	n--
	stocked := 0
	f := h.enterNew()
	if f != nil {
		stocked = f.stock(c, items[:n])
	}
	h.leave(f)
	if stocked < n {
		h.flush(c, processors, items[stocked:n])
	}
	return items[n], nil
}

// enterNew is enter that makes the front, if it can.
func (h *Heap) enterNew() *front {
	f := h.enter()
	if f != nil {
		return f
	}
	h.leave(f)
	pid := procpin.Pin()
	procpin.Unpin()
	if pid < mostProcessors {
		h.fronts[pid].CompareAndSwap(nil, new(front))
	}
	return h.enter() // nil, if the goroutine has moved to another processor by now that has none
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
	p := unsafe.Pointer(unsafe.SliceData(b))
	off := uintptr(p) - uintptr(h.base) // wraps if p lies below
	if off>>unitBits < uintptr(h.edge.Load()) {
		e, state, exact := h.find(off)
		if s := h.state(state); exact && *s == stateLive {
			*s = stateCached
			it := newItem(uint32(off/granule), state)
			c, most := e.class, e.most
			f := h.enter()
			ok := f != nil && f.push(c, it, most)
			h.leave(f)
			if !ok {
				h.putSlowly(c, it)
			}
			return
		}
	}
	h.freeOther(p)
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

// putSlowly frees a slot where the magazine is full: the older half goes to the depot.
func (h *Heap) putSlowly(c uint8, it item) {
	f := h.enterNew()
	if f == nil || classes[c].most == 0 {
		h.leave(f)
		h.flush(c, processors, []item{it})
		return
	}
	var items batch
	n := f.exchange(c, it, classes[c].most, items[:])
	h.leave(f)
	h.flush(c, processors, items[:n])
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
	v := &guard.Violation{Op: "slab." + op, Region: h.config.Name, Addr: uintptr(p), Offset: int(off)}
	if off>>unitBits >= uintptr(h.edge.Load()) {
		v.What = "pointer into other memory"
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
