package slab

import (
	"cmp"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Local is a front of a Heap for one goroutine at a time: it allocates and frees without the
// processor's pin. Objects are the heap's: they may be freed through the Heap and through every
// other Local, and outlive the Local that allocated them. It takes 150 KB of the Go heap, and keeps
// up to 64 KiB of free slots of each size until it is closed, empties itself for want of memory, or
// comes to its slow path after a pause. In a hardened heap it keeps none.
type Local struct {
	heap   *Heap
	owner  uint8 // its group
	closed bool
	front  front
}

// Local makes a front of the heap. Close hands back what it holds.
func (h *Heap) Local() *Local {
	h.usable("Local")
	h.mu.Lock()
	l := &Local{heap: h, owner: uint8(1 + h.opened%(owners-1))}
	if h.hard == nil {
		l.front.open()
	}
	h.opened++
	h.locals[l] = struct{}{}
	h.mu.Unlock()
	return l
}

// Close hands the free slots that the Local holds back to the heap. Its use afterwards is a
// *guard.Violation. A second Close, and one after that of the heap, is an error that wraps
// guard.ErrClosed.
func (l *Local) Close() error {
	bad, err := l.close()
	raise(bad)
	return err
}

func (l *Local) close() (bad *guard.Violation, err error) {
	h := l.heap
	h.mu.Lock()
	was := l.closed || h.closed.Load()
	l.closed = true
	h.mu.Unlock()
	if was {
		return nil, fmt.Errorf("slab: close a Local of %q: %w", h.config.Name, guard.ErrClosed)
	}
	// Without the lock, which count takes, because this may wait for one under which memory is
	// committed; before the heap forgets the Local, so that Stats sees the slots here or in their slabs.
	bad = h.empty(&l.front)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.locals, l)
	l.shut()
	return bad, nil
}

// shut makes every fast path miss, and the slow ones say why.
func (l *Local) shut() {
	l.front = front{}
	l.closed = true
}

// forget drops all slots. The heap's Close calls it, and then a goroutine may use the Local: of that
// the race detector is not told. What such a use brings back is no slot of an open heap, and found to
// be none.
//
//go:norace
func (l *Local) forget() {
	for c := range l.front.magazines {
		l.front.magazines[c].n = 0
	}
}

func (l *Local) usable(op string) {
	if l.closed {
		l.heap.usable(op)
		panic(&guard.Violation{Op: "slab." + op, What: "use of a Local after its Close", Region: l.heap.config.Name})
	}
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
		m := l.front.magazine(tabledClass(size))
		if it, rest, ok := m.top(); ok && l.heap.claim(it) {
			m.n = rest
			return l.heap.bytes(it, size, m.size)
		}
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
		l.usable("Alloc")
		return h.getFor(l, size)
	}
	c := classOf(uint(size))
	it, ok := l.front.magazine(c).pop()
	if !ok {
		if l.usable("Alloc"); l.front.magazine(c).due() {
			if b, ok = h.sample(size, granule); ok {
				return b, true, nil
			}
		}
		if it, err = l.fetch(c, size); err != nil {
			return nil, true, err
		}
	}
	return h.object(c, it, size), it.clean(), nil
}

// fetch gets a cached slot where an allocation was due, or the magazine is empty: then from the
// depot, and others for the magazine.
func (l *Local) fetch(c uint8, size int) (item, error) {
	if it, ok := l.front.magazine(c).popDue(); ok {
		return it, nil
	}
	var items batch
	h := l.heap
	n, err := h.refill(l, c, size, items[:max(classes[c].most/2, 1)])
	if err != nil {
		return 0, err
	}
	n--
	if stocked := l.front.magazine(c).stock(items[:n]); stocked < n { // OnSoft has used the Local
		if bad := h.flush(c, l.owner, items[stocked:n]); bad != nil {
			h.giveBack(c, items[n:n+1])
			h.usable("Alloc")
			panic(bad)
		}
	}
	return items[n], nil
}

// Free is Heap.Free.
//
// Cost: the entry of the unit, a multiplication, a byte to compare and to write, a push.
func (l *Local) Free(b []byte) {
	h := l.heap
	h.markWrite(unsafe.Pointer(unsafe.SliceData(b)))
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(h.base) // wraps below the base
	if off>>unitBits < uintptr(h.edge.Load()) {
		e, state, exact := h.find(off)
		if s := h.state(state); exact && *s == stateLive && l.front.magazine(e.class).push(newItem(uint32(off/granule), state)) {
			*s = stateCached
			return
		}
	}
	l.freeSlowly(unsafe.Pointer(unsafe.SliceData(b)))
}

// freeSlowly is Free where the magazine is full, or there is no object in a slab.
func (l *Local) freeSlowly(p unsafe.Pointer) {
	h := l.heap
	if p == nil {
		return
	}
	l.usable("Free")
	if h.hard != nil {
		h.freeSlowly(p)
		return
	}
	c, it, ok := h.takeBack(p)
	if !ok {
		h.freeOther(p)
		return
	}
	items := batch{it}
	n := 1
	if classes[c].most > 0 {
		n = l.front.magazine(c).exchange(it, items[:])
	}
	bad := h.flush(c, l.owner, items[:n])
	raise(cmp.Or(bad, h.mayDecay(l)))
}
