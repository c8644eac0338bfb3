package slab

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Local is a front of a Heap for one goroutine at a time: it allocates and frees without the
// processor's pin. Objects are the heap's: they may be freed through the Heap and through every
// other Local, and outlive the Local that allocated them.
type Local struct {
	heap  *Heap
	owner uint8 // its group
	front front
}

// Local makes a front of the heap. Close hands back what it holds.
func (h *Heap) Local() *Local {
	h.usable("Local")
	h.mu.Lock()
	l := &Local{heap: h, owner: uint8(1 + h.opened%(owners-1))}
	if h.hard == nil {
		l.front.open(fullMagazine)
	}
	h.opened++
	h.locals[l] = struct{}{}
	h.mu.Unlock()
	return l
}

// Close hands the free slots that the Local holds back to the heap. A second Close, and one after
// that of the heap, is an error that wraps guard.ErrClosed.
func (l *Local) Close() error {
	h := l.heap
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, open := h.locals[l]; !open {
		return fmt.Errorf("slab: close a Local of %q: %w", h.config.Name, guard.ErrClosed)
	}
	h.empty(&l.front) // under the lock: Stats sees the slots here or in their slabs
	delete(h.locals, l)
	return nil
}

// Alloc is Heap.Alloc.
func (l *Local) Alloc(size int) []byte { return must(l.TryAlloc(size)) }

// TryAlloc is Heap.TryAlloc.
func (l *Local) TryAlloc(size int) ([]byte, error) {
	return zeroed(l.get(size))
}

// AllocDirty is Heap.AllocDirty.
//
// Cost: the class, a pop, a byte to compare and to write.
func (l *Local) AllocDirty(size int) []byte {
	if uint(size) <= tabled {
		l.front.lock.Lock()
		m := l.front.magazine(tabledClass(size))
		if it, ok := m.top(); ok && l.heap.claim(it) {
			m.n--
			l.front.lock.Unlock()
			return l.heap.bytes(it, size, m.size)
		}
		l.front.lock.Unlock()
	}
	return must(l.TryAllocDirty(size))
}

// TryAllocDirty is Heap.TryAllocDirty.
func (l *Local) TryAllocDirty(size int) ([]byte, error) {
	b, _, err := l.get(size)
	return b, err
}

// get takes a slot for an object of any size.
func (l *Local) get(size int) (b []byte, clean bool, err error) {
	h := l.heap
	if uint(size) > largestSlot || h.hard != nil {
		return h.get(size)
	}
	c := classOf(uint(size))
	l.front.lock.Lock()
	it, ok := l.front.magazine(c).pop()
	l.front.lock.Unlock()
	if !ok {
		if it, err = l.fetch(c, size); err != nil {
			return nil, true, err
		}
	}
	return h.object(it, size), it.clean(), nil
}

// fetch gets cached slots from the depot: one to use, the others for the magazine.
func (l *Local) fetch(c uint8, size int) (item, error) {
	l.heap.mayDecay(l)
	var items batch
	n, err := l.heap.refill(c, l.owner, size, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return 0, err
	}
	n--
	l.front.lock.Lock()
	l.front.magazine(c).stock(items[:n])
	l.front.lock.Unlock()
	return items[n], nil
}

// Free is Heap.Free.
//
// Cost: the entry of the unit, a multiplication, a byte to compare and to write, a push.
func (l *Local) Free(b []byte) {
	h := l.heap
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(h.base) // wraps below the base
	if off>>unitBits < uintptr(h.edge.Load()) {
		e, state, exact := h.find(off)
		l.front.lock.Lock()
		if s := h.state(state); exact && *s == stateLive && l.front.magazine(e.class).push(newItem(uint32(off/granule), state)) {
			*s = stateCached
			l.front.lock.Unlock()
			return
		}
		l.front.lock.Unlock()
	}
	l.freeSlowly(unsafe.Pointer(unsafe.SliceData(b)))
}

// freeSlowly is Free where the magazine is full, or there is no object in a slab.
func (l *Local) freeSlowly(p unsafe.Pointer) {
	if l.heap.hard != nil {
		l.heap.freeHardened(p)
		return
	}
	c, it, ok := l.heap.takeBack(p)
	if !ok {
		l.heap.freeOther(p)
		return
	}
	l.heap.mayDecay(l)
	if classes[c].most == 0 {
		l.heap.flush(c, l.owner, []item{it})
		return
	}
	var items batch
	l.front.lock.Lock()
	n := l.front.magazine(c).exchange(it, items[:])
	l.front.lock.Unlock()
	l.heap.flush(c, l.owner, items[:n])
}
