package slab

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// Local allocates from a Heap, and frees to it, for one goroutine at a time: it need not find the processor.
// Heap.Local makes one; the methods of a zero or nil Local panic with a *guard.Violation. Objects belong to the
// heap: the Heap and every Local of it may free them, and they outlive the Local that allocated them. Realloc,
// Size, batches and typed objects (New, MakeSlice) are calls of the Heap, and take objects of a Local, too. A
// Local must not be copied.
//
// A Local takes less than 6 KB of the Go heap at first, and up to 1 KB more for each size class that it
// caches. It caches up to 64 KiB of free slots of each class, until it is closed, memory runs out, or its
// slow path runs after a pause of half a second. In a hardened heap it caches none.
//
// A Local that becomes unreachable without Close is reported as a leak, to the function of
// guard.SetOnLeak: the Info has the name of the heap with ": Local", and where the Local was opened.
// guardtest.CheckLeaks counts it as open. Its free slots go back to the heap; the objects that it
// allocated stay. If one of the slots was freed twice at the same moment, the next Purge, or the next Alloc
// or Free on the slow path, panics with the violation. A finalizer does this, so runtime.SetFinalizer on a
// Local ends the program.
type Local struct {
	_      nocopy.NoCopy
	heap   *Heap
	owner  uint8 // its group
	closed bool
	resets uint // of the heap, when the Local was made or its cache emptied by Reset. The heap's mu guards it
	part   region.Part
	self   weak.Pointer[Local]
	cache  cache // by value: apart, its address is a load more, and objects in order took a tenth longer
}

// Local makes a Local of the heap. Its Close returns the slots that it caches. It panics with a
// *guard.Violation after Close of the heap.
func (h *Heap) Local() *Local {
	h.usable("Local")
	l := &Local{heap: h, part: h.region.OpenPart(h.config.Name + ": Local")}
	l.cache.open()
	l.self = weak.Make(l)
	h.mu.Lock()
	l.owner = uint8(1 + h.opened%(owners-1))
	l.resets = h.resets
	h.opened++
	h.locals[l.self] = struct{}{}
	h.mu.Unlock()
	// A cleanup cannot see the cache, which is in l. If it does not run nothing breaks: free slots stay
	// where they are.
	runtime.SetFinalizer(l, (*Local).drop)
	return l
}

// Close returns the free slots of the Local to the heap. The objects that it allocated stay. Other use of
// the Local panics with a *guard.Violation from then on. A second Close, and a Close after Close of the
// heap, returns an error that wraps guard.ErrClosed.
func (l *Local) Close() error {
	l.opened("Close")
	bad, err := l.close()
	raise(bad)
	return err
}

func (l *Local) close() (bad *guard.Violation, err error) {
	defer l.used()
	if !l.end() {
		return nil, fmt.Errorf("slab: close a Local of %q: %w", l.heap.config.Name, guard.ErrClosed)
	}
	runtime.SetFinalizer(l, nil)
	bad = l.release()
	l.part.Close()
	return bad, nil
}

// end marks the Local as closed; false if it or the heap is closed already.
func (l *Local) end() bool {
	l.heap.mu.Lock()
	defer l.heap.mu.Unlock()
	was := l.closed || l.heap.closed.Load()
	l.closed = true
	return !was
}

// release returns the slots of the Local to their slabs, and removes the Local from the heap's list. Caller
// has called end.
func (l *Local) release() (bad *guard.Violation) {
	h := l.heap
	// Without the heap's lock, which count takes, because this may wait for one under which memory is
	// committed; before the heap forgets the Local, so that Stats sees the slots here or in their slabs.
	if l.survives() {
		bad = h.drain(&l.cache)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.locals, l.self)
	l.cache = cache{} // every fast path misses, and the slow ones say why
	return bad
}

// survives tells whether the slots in the cache are as they were put there. Reset does not find the Locals that became
// unreachable, and frees the slots that they cache.
func (l *Local) survives() bool {
	l.heap.mu.Lock()
	defer l.heap.mu.Unlock()
	return l.resets == l.heap.resets
}

// openLocals returns the heap's Locals that are neither closed nor dropped. Caller holds h.mu.
func (h *Heap) openLocals() (all []*Local) {
	for p := range h.locals {
		if l := p.Value(); l != nil {
			all = append(all, l)
		}
	}
	return all
}

// dropped guards a heap against the recovery of Locals that became unreachable without Close, which
// comes at any time, on a goroutine of the runtime.
type dropped struct {
	mu  sync.Mutex // of a recovery. The heap's other locks are taken after it
	bad atomic.Pointer[guard.Violation]
}

// drop is called by the runtime for a Local that nobody closed and nobody can reach. Nothing is done if
// the heap was closed.
func (l *Local) drop() {
	l.cache.acquire()
	if l.recoverSlots() {
		l.part.Leak() // without locks, for it calls the user's function
	}
}

// recoverSlots returns the slots of the Local to their slabs; false if it or the heap was closed already.
func (l *Local) recoverSlots() bool {
	d := &l.heap.dropped
	d.mu.Lock()
	defer d.mu.Unlock()
	if !l.end() {
		return false
	}
	if bad := l.release(); bad != nil {
		d.bad.CompareAndSwap(nil, bad) // of several the first: one is enough to end the program
	}
	return true
}

// violation returns what recoveries found, once. It costs one load where there is nothing.
func (d *dropped) violation() *guard.Violation {
	if d.bad.Load() == nil {
		return nil
	}
	return d.bad.Swap(nil)
}

// opened panics if the Local is nil or zero.
func (l *Local) opened(op string) {
	if l == nil || l.heap == nil {
		panic(zeroUse(op, "Heap.Local makes a Local"))
	}
}

// zeroUse is not inlined, so that the check in front of a fast path is a comparison and a jump.
//
//go:noinline
func zeroUse(op, detail string) *guard.Violation {
	return &guard.Violation{Op: "slab." + op, Kind: guard.ZeroValue, Detail: detail}
}

// forget empties all magazines. The heap's Close calls it while another goroutine may use the Local, so
// the race detector does not look. A slot that such a use puts back is found to be none: the heap is closed.
//
//go:norace
func (l *Local) forget() {
	for i := range l.cache.magazines {
		l.cache.magazines[i].n = 0
	}
}

func (l *Local) usable(op string) {
	l.opened(op)
	if l.closed {
		l.heap.usable(op)
		panic(&guard.Violation{Op: "slab." + op, Kind: guard.UseAfterClose, Detail: "the Local is closed", Region: l.heap.config.Name})
	}
}

// Alloc is Heap.Alloc.
func (l *Local) Alloc(size, align int) []byte {
	if isNatural(align) {
		if p, capacity, was := l.allocFast(size); p != nil {
			return cleared(p, size, capacity, was)
		}
	}
	return must(zeroed(l.get(size, align)))
}

// TryAlloc is Heap.TryAlloc.
func (l *Local) TryAlloc(size, align int) ([]byte, error) {
	if isNatural(align) {
		if p, capacity, was := l.allocFast(size); p != nil {
			return cleared(p, size, capacity, was), nil
		}
	}
	return zeroed(l.get(size, align))
}

// AllocDirty is Heap.AllocDirty.
func (l *Local) AllocDirty(size, align int) []byte {
	return allocDirtyLocal(l, size, align, (*Local).allocFast, (*Local).allocDirty)
}

// allocDirtyLocal is allocDirty for a Local.
func allocDirtyLocal(l *Local, size, align int, fast func(*Local, int) (unsafe.Pointer, uint32, slots.State), slow func(*Local, int, int) []byte) []byte {
	if isNatural(align) {
		if p, capacity, _ := fast(l, size); p != nil {
			return (*[slotSpace]byte)(p)[:size:capacity]
		}
	}
	return slow(l, size, align)
}

func (l *Local) allocDirty(size, align int) []byte {
	b, _, err := l.get(size, align)
	return must(b, err)
}

// TryAllocDirty is Heap.TryAllocDirty.
func (l *Local) TryAllocDirty(size, align int) ([]byte, error) {
	if isNatural(align) {
		if p, capacity, _ := l.allocFast(size); p != nil {
			return (*[slotSpace]byte)(p)[:size:capacity], nil
		}
	}
	b, _, err := l.get(size, align)
	return b, err
}

// get is client.get for the Local.
func (l *Local) get(size, align int) (b []byte, clean bool, err error) {
	l.usable("Alloc")
	defer l.used()
	return l.client().get(size, align)
}

// Free is Heap.Free.
func (l *Local) Free(b []byte) {
	free(l, addr(b), (*Local).freeFast, (*Local).free)
}

// free is Free where the fast path has not freed the object at p.
func (l *Local) free(p unsafe.Pointer) {
	if l.opened("Free"); p == nil {
		return
	}
	l.usable("Free")
	defer l.used()
	l.client().put("Free", p)
}
