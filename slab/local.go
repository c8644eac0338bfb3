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
	front front
}

// Local makes a front of the heap. Close hands back what it holds.
func (h *Heap) Local() *Local {
	h.usable("Local")
	l := &Local{heap: h}
	h.mu.Lock()
	h.locals[l] = struct{}{}
	h.mu.Unlock()
	return l
}

// Close hands the free slots that the Local holds back to the heap. A second Close, and one after
// that of the heap, is an error that wraps guard.ErrClosed.
func (l *Local) Close() error {
	h := l.heap
	h.mu.Lock()
	_, open := h.locals[l]
	delete(h.locals, l)
	h.mu.Unlock()
	if !open {
		return fmt.Errorf("slab: close a Local of %q: %w", h.config.Name, guard.ErrClosed)
	}
	h.empty(&l.front)
	return nil
}

// Alloc is Heap.Alloc.
func (l *Local) Alloc(size int) []byte { return must(l.TryAlloc(size)) }

// TryAlloc is Heap.TryAlloc.
func (l *Local) TryAlloc(size int) ([]byte, error) {
	b, clean, err := l.get(size)
	if !clean {
		clear(b[:cap(b)])
	}
	return b, err
}

// AllocDirty is Heap.AllocDirty.
func (l *Local) AllocDirty(size int) []byte {
	b, _, err := l.get(size)
	if err != nil {
		panic(err)
	}
	return b
}

// TryAllocDirty is Heap.TryAllocDirty.
func (l *Local) TryAllocDirty(size int) ([]byte, error) {
	b, _, err := l.get(size)
	return b, err
}

// get takes a slot. Cost: a pop, a byte to write.
func (l *Local) get(size int) (b []byte, clean bool, err error) {
	if uint(size) > largestSlot {
		return l.heap.getLarge(size)
	}
	c := classOf(uint(size))
	l.front.lock.Lock()
	m := l.front.at(c)
	if m.n == 0 {
		l.front.lock.Unlock()
		return l.getSlowly(c, size)
	}
	m.n--
	it := m.items[m.n%fullMagazine]
	l.front.lock.Unlock()
	b, clean = l.heap.handOut(c, it, size)
	return b, clean, nil
}

func (l *Local) getSlowly(c uint8, size int) ([]byte, bool, error) {
	h := l.heap
	var items batch
	n, err := h.refill(c, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return nil, true, err
	}
	l.front.lock.Lock()
	m := l.front.at(c)
	m.n = uint32(copy(m.items[:], items[:n-1]))
	l.front.lock.Unlock()
	b, clean := h.handOut(c, items[n-1], size)
	return b, clean, nil
}

// Free is Heap.Free.
func (l *Local) Free(b []byte) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	c, it, ok := l.heap.takeBack(p)
	if !ok {
		l.heap.freeOther(p)
		return
	}
	l.front.lock.Lock()
	if m := l.front.at(c); m.n < classes[c].most {
		m.items[m.n%fullMagazine] = it
		m.n++
		l.front.lock.Unlock()
		return
	}
	l.front.lock.Unlock()
	l.putSlowly(c, it)
}

// putSlowly frees a slot where the magazine is full: the older half goes to the depot.
func (l *Local) putSlowly(c uint8, it item) {
	h := l.heap
	if classes[c].most == 0 {
		h.flush(c, []item{it})
		return
	}
	var items batch
	l.front.lock.Lock()
	n := l.front.at(c).exchange(it, classes[c].most, items[:])
	l.front.lock.Unlock()
	h.flush(c, items[:n])
}
