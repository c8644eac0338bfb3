package slab

import (
	"cmp"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Local allocates from a Heap for one goroutine at a time, and frees, without the processor's pin.
// Heap.Local makes one; use of the zero Local is a *guard.Violation. Objects are the heap's: they may
// be freed through the Heap and through every other Local, and outlive the Local that allocated them.
//
// It takes less than 4 KB of the Go heap at first, and up to 1 KB more for each size that it caches. It keeps
// up to 64 KiB of free slots of each size until it is closed, empties itself for want of memory, or
// comes to its slow path after a pause. In a hardened heap it keeps none.
//
// A Local that becomes unreachable without Close is reported: guard.OnLeak gets an Info with the name
// of the heap and ": Local", and where the Local was opened, and guard.CheckLeaks counts the Local as
// open. Its free slots go back to the heap; the objects that it allocated stay. A slot that is found
// freed twice at the same moment then is the violation of the next Purge, or of the next Alloc or Free
// that takes the slow path: nobody could recover it where the runtime runs cleanups.
type Local struct {
	_       noCopy
	heap    *Heap
	front   *front
	cache   *localCache
	cleanup runtime.Cleanup
}

// localCache is what outlives a Local that is dropped without Close, so that its slots can be brought
// home. The front lies in memory of its own for that. To load its address is hidden behind the other
// loads: C1 with a Local took 0.97 to 1.02 of the time before, when the front was part of the Local, pairs
// 0.90 and objects in order 1.03. So a cleanup serves, and no finalizer is needed.
type localCache struct {
	heap   *Heap
	front  *front
	owner  uint8 // its group
	closed bool
	part   guard.Part
}

// Local makes a Local of the heap. Close hands back what it holds.
func (h *Heap) Local() *Local {
	h.usable("Local")
	c := &localCache{heap: h, front: new(front), part: h.region.OpenPart(h.config.Name + ": Local")}
	if h.hard == nil {
		c.front.open()
	}
	h.mu.Lock()
	c.owner = uint8(1 + h.opened%(owners-1))
	h.opened++
	h.locals[c] = struct{}{}
	h.mu.Unlock()
	l := &Local{heap: h, front: c.front, cache: c}
	l.cleanup = runtime.AddCleanup(l, (*localCache).drop, c)
	return l
}

// Close hands the free slots that the Local holds back to the heap. Its use afterwards is a
// *guard.Violation. A second Close, and one after that of the heap, is an error that wraps
// guard.ErrClosed.
func (l *Local) Close() error {
	l.opened("Close")
	bad, err := l.close()
	raise(bad)
	return err
}

func (l *Local) close() (bad *guard.Violation, err error) {
	defer l.used()
	c := l.cache
	if !c.end() {
		return nil, fmt.Errorf("slab: close a Local of %q: %w", c.heap.config.Name, guard.ErrClosed)
	}
	l.cleanup.Stop()
	bad = c.release()
	c.part.Close()
	return bad, nil
}

// end marks the cache as closed; false if it, or the heap, was.
func (c *localCache) end() bool {
	c.heap.mu.Lock()
	defer c.heap.mu.Unlock()
	was := c.closed || c.heap.closed.Load()
	c.closed = true
	return !was
}

// release brings home what the cache holds, and has the heap forget it. Caller has called end.
func (c *localCache) release() (bad *guard.Violation) {
	h := c.heap
	// Without the heap's lock, which count takes, because this may wait for one under which memory is
	// committed; before the heap forgets the cache, so that Stats sees the slots here or in their slabs.
	bad = h.empty(c.front)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.locals, c)
	c.shut()
	return bad
}

// shut makes every fast path miss, and the slow ones say why.
func (c *localCache) shut() {
	*c.front = front{}
	c.closed = true
}

// dropped guards a heap against the cleanups of Locals that became unreachable without Close: these run at
// any time, on goroutines of the runtime.
type dropped struct {
	mu  sync.Mutex // of a cleanup. The heap's other locks are taken after it
	bad atomic.Pointer[guard.Violation]
}

// drop is the cleanup of a Local that nobody closed. Nothing is done if the heap was closed.
func (c *localCache) drop() {
	c.front.acquire()
	if c.recoverSlots() {
		c.part.Leak() // without locks, for it calls the user's function
	}
}

// recoverSlots brings home what the cache holds; false if it, or the heap, was closed.
func (c *localCache) recoverSlots() bool {
	d := &c.heap.dropped
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.end() {
		return false
	}
	if bad := c.release(); bad != nil {
		d.bad.CompareAndSwap(nil, bad) // of several the first: one is enough to end the program
	}
	return true
}

// violation returns what cleanups found, once. It costs one load where there is nothing.
func (d *dropped) violation() *guard.Violation {
	if d.bad.Load() == nil {
		return nil
	}
	return d.bad.Swap(nil)
}

// wait returns when no cleanup uses the heap, which is marked as closed already.
func (d *dropped) wait() {
	d.mu.Lock()
	defer d.mu.Unlock()
}

// opened panics for a nil or a zero Local.
func (l *Local) opened(op string) {
	if l == nil || l.heap == nil {
		panic(zeroUse(op, "use of a zero Local: Heap.Local makes one"))
	}
}

// zeroUse is not inlined, so that the check in front of a fast path is a comparison and a jump.
//
//go:noinline
func zeroUse(op, what string) *guard.Violation {
	return &guard.Violation{Op: "slab." + op, What: what}
}

// forget drops all slots. The heap's Close calls it, and then a goroutine may use the Local: of that
// the race detector is not told. What such a use brings back is no slot of an open heap, and found to
// be none.
//
//go:norace
func (c *localCache) forget() {
	for i := range c.front.magazines {
		c.front.magazines[i].n = 0
	}
}

func (l *Local) usable(op string) {
	l.opened(op)
	if l.cache.closed {
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
	if uint(size) <= tabled && l != nil && l.front != nil {
		m := l.front.magazine(tabledClass(size))
		if it, rest, ok := m.top(); ok && l.heap.claim(it) {
			capacity := m.size
			m.n = rest
			l.used() // here l is in a register: at the end it would be stored for this
			return l.heap.bytes(it, size, capacity)
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
	l.opened("Alloc")
	h := l.heap
	if uint(size) > largestSlot || h.hard != nil {
		l.usable("Alloc")
		b, clean, err = h.getFor(l, size)
		l.used()
		return b, clean, err
	}
	c := classOf(uint(size))
	it, ok := l.front.magazine(c).pop()
	if !ok {
		if l.usable("Alloc"); l.front.due(c) {
			if b, ok = h.sample(size, granule); ok {
				l.used()
				return b, true, nil
			}
		}
		if it, err = l.fetch(c, size); err != nil {
			l.used()
			return nil, true, err
		}
	}
	b = h.object(c, it, size)
	l.used()
	return b, it.clean(), nil
}

// fetch gets a cached slot where an allocation was due, or the magazine is empty: then from the
// depot, and others for the magazine, half as many as it has room for.
func (l *Local) fetch(c uint8, size int) (item, error) {
	if it, ok := l.front.magazine(c).popDue(); ok {
		return it, nil
	}
	m := l.front.magazine(c)
	l.front.grow(c)
	var items batch
	h := l.heap
	n, err := h.refill(l, c, size, items[:max(m.room/2, 1)])
	if err != nil {
		return 0, err
	}
	return h.keep(c, l.cache.owner, items[:n], m.stock(items[:n-1])), nil
}

// Free is Heap.Free.
//
// Cost: the entry of the unit, a multiplication, a byte to compare and to write, a push.
func (l *Local) Free(b []byte) {
	if l != nil && l.front != nil {
		h, f := l.heap, l.front
		h.markWrite(unsafe.Pointer(unsafe.SliceData(b)))
		off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(h.base) // wraps below the base
		if off>>unitBits < uintptr(h.edge.Load()) {
			e, state, exact := h.find(off)
			if s := h.state(state); exact && *s == stateLive && f.magazine(e.class).push(newItem(uint32(off/granule), state)) {
				*s = stateCached
				if l.usedByFree() {
					return
				}
			}
		}
	}
	l.freeSlowly(unsafe.Pointer(unsafe.SliceData(b)))
}

// freeSlowly is Free where the magazine is full, or there is no object in a slab.
func (l *Local) freeSlowly(p unsafe.Pointer) {
	if p == nil {
		return
	}
	l.usable("Free")
	defer l.used()
	h := l.heap
	if h.hard != nil {
		h.freeSlowly(p)
		return
	}
	c, it, ok := h.takeBack(p)
	if !ok {
		h.freeOther(p)
		return
	}
	m := l.front.magazine(c)
	if l.front.grow(c) {
		m.push(it)
		return
	}
	items := batch{it}
	n := 1
	if classes[c].most > 0 {
		n = m.exchange(it, items[:])
	}
	bad := h.flush(c, l.cache.owner, items[:n])
	raise(cmp.Or(bad, h.mayDecay(l)))
}
