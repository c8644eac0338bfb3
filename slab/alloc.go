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
	b, clean, err := h.get(size)
	if !clean {
		clear(b[:cap(b)])
	}
	return b, err
}

// AllocDirty is Alloc without the zeroes: the bytes may be anything.
func (h *Heap) AllocDirty(size int) []byte {
	b, _, err := h.get(size)
	if err != nil {
		panic(err)
	}
	return b
}

// TryAllocDirty is AllocDirty that returns its error.
func (h *Heap) TryAllocDirty(size int) ([]byte, error) {
	b, _, err := h.get(size)
	return b, err
}

// get takes a slot. Cost: the pin, a pop, a byte to write.
func (h *Heap) get(size int) (b []byte, clean bool, err error) {
	if uint(size) > largestSlot {
		return h.getLarge(size)
	}
	c := classOf(uint(size))
	f := h.enter()
	if f == nil {
		h.leave(f)
		return h.getSlowly(c, size)
	}
	m := f.at(c)
	if m.n == 0 {
		h.leave(f)
		return h.getSlowly(c, size)
	}
	m.n--
	it := m.items[m.n%fullMagazine]
	h.leave(f)
	b, clean = h.handOut(c, it, size)
	return b, clean, nil
}

// handOut makes an object of a cached slot.
func (h *Heap) handOut(c uint8, it item, size int) (b []byte, clean bool) {
	s := h.meta.state(it.state &^ cleanBit)
	if *s != stateCached {
		panic(h.violation("Alloc", "a slot was freed twice at the same time", it.at))
	}
	*s = stateLive
	p := (*byte)(unsafe.Add(h.base, uintptr(it.at)*granule))
	return unsafe.Slice(p, classes[c].size)[:size], it.state&cleanBit != 0
}

func (h *Heap) getSlowly(c uint8, size int) ([]byte, bool, error) {
	var items batch
	n, err := h.refill(c, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return nil, true, err
	}
	n--
	h.stock(c, items[:n])
	b, clean := h.handOut(c, items[n], size)
	return b, clean, nil
}

// stock puts cached slots into this processor's magazine.
func (h *Heap) stock(c uint8, items []item) {
	n := 0
	f := h.enterNew()
	if f != nil {
		m := f.at(c)
		n = copy(m.items[m.n:classes[c].most], items)
		m.n += uint32(n)
	}
	h.leave(f)
	if n < len(items) {
		h.flush(c, items[n:])
	}
}

// enterNew is enter that makes the front, if it can.
func (h *Heap) enterNew() *front {
	if f := h.enter(); f != nil {
		return f
	} else {
		h.leave(f)
	}
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
func (h *Heap) Free(b []byte) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	c, it, ok := h.takeBack(p)
	if !ok {
		h.freeOther(p)
		return
	}
	f := h.enter()
	if f != nil {
		if m := f.at(c); m.n < classes[c].most {
			m.items[m.n%fullMagazine] = it
			m.n++
			h.leave(f)
			return
		}
	}
	h.leave(f)
	h.putSlowly(c, it)
}

// takeBack makes a cached slot of the object at p; ok is false if there is none.
func (h *Heap) takeBack(p unsafe.Pointer) (c uint8, it item, ok bool) {
	c, it, ok = h.lookup(p)
	if ok {
		*h.meta.state(it.state) = stateCached
	}
	return c, it, ok
}

// lookup finds the object that starts at p; ok is false if there is none.
func (h *Heap) lookup(p unsafe.Pointer) (c uint8, it item, ok bool) {
	off := uintptr(p) - uintptr(h.base) // wraps if p lies below
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return 0, item{}, false
	}
	e := h.meta.entry(int(off >> unitBits))
	slot, exact := classes[e.class].slotAt(uint64(off - uintptr(e.first)<<unitBits))
	if !exact {
		return 0, item{}, false
	}
	it = item{uint32(off / granule), e.states + uint32(slot)}
	return e.class, it, *h.meta.state(it.state) == stateLive
}

// putSlowly frees a slot where the magazine is full: the older half goes to the depot.
func (h *Heap) putSlowly(c uint8, it item) {
	f := h.enterNew()
	if f == nil || classes[c].most == 0 {
		h.leave(f)
		h.flush(c, []item{it})
		return
	}
	var items batch
	n := f.at(c).exchange(it, classes[c].most, items[:])
	h.leave(f)
	h.flush(c, items[:n])
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
	e := h.meta.entry(int(off >> unitBits))
	slot, exact := classes[e.class].slotAt(uint64(off - uintptr(e.first)<<unitBits))
	switch {
	case e.class == 0:
		v.What = "freed already, or never allocated"
	case !exact:
		v.What = "pointer that is not the start of an object"
	case *h.meta.state(e.states + uint32(slot)) == stateLive:
		v.What = "freed and allocated again at the same time"
	default:
		v.What = "freed already, or never allocated"
	}
	return v
}
