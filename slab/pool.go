package slab

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Pool hands out objects of one type from a Heap of its own: the promises of a Heap about memory, misuse
// and concurrency hold. It also names its objects. A Handle contains no pointer, so it may be stored
// off-heap, and it goes stale when its object is put back, even if another object has the place by then.
//
// OpenPool makes one; the methods of a zero or nil Pool panic with a *guard.Violation. A Pool must not be
// copied.
type Pool[T any] struct {
	_ nocopy.NoCopy
	pool
}

// pool is the part of a Pool that does not depend on its type.
type pool struct {
	heap   *Heap
	cached uintptr // of the class: see slots.Entry.Cached
	size   int     // of an object, in bytes
	salt   uint32  // mixed into the generations in handles. It is even, so it keeps them even or odd
}

// Handle names an object of a Pool: HandleOf makes it, Deref follows it. It takes 8 bytes without a pointer.
// The zero Handle names no object. Handles of the same object are equal (==). After 2^31 objects in one place a
// stale Handle may name the last of them.
type Handle[T any] struct {
	at         uint32 // in granules
	generation uint32 // of the object, odd, XOR the pool's salt
}

// IsNil tells whether the handle is the zero Handle.
func (x Handle[T]) IsNil() bool { return x == Handle[T]{} }

// OpenPool opens a pool of objects of type T, which may have up to 1 MiB, less 8 bytes in a hardened pool.
// The error names the field if T contains pointers, and wraps guard.ErrNoMemory where the system refuses
// the addresses. Config.Name is "pool" by default.
func OpenPool[T any](c Config) (*Pool[T], error) {
	if c.Name == "" {
		c.Name = "pool"
	}
	if err := pointerFree((*T)(nil)); err != nil {
		return nil, fmt.Errorf("slab: open pool %q: %w", c.Name, err)
	}
	size := int(unsafe.Sizeof(*new(T)))
	class, ok := sizeclass.For(size, sizeclass.Granule)
	if c.Hardened {
		class, ok = hardenedClass(size, sizeclass.Granule)
	}
	if !ok {
		return nil, fmt.Errorf("slab: open pool %q: objects of %d bytes do not fit into slots of %d", c.Name, size, sizeclass.Largest)
	}
	return reserve(c, int(class), func(c Config) (*Pool[T], error) {
		c.Reserve = min(c.Reserve, maxReserve-reserveUnit) // the last granules are for sampledHandles
		h, err := openHeap(c, int(class))
		if err != nil {
			return nil, err
		}
		return &Pool[T]{pool: pool{h, sizeclass.CachedAt(class), size, rand.Uint32() &^ 1}}, nil
	})
}

// Get returns a zeroed object: in the place of the one that was put last on this processor, if there was
// one. The object is valid until Put. Get panics with an error that wraps guard.ErrNoMemory where there is
// no memory, and with a *guard.Violation after Close. Any goroutine may call it.
//
// Cost: one short call without a lock for a T of up to 16 KiB, and clearing the T.
func (p *Pool[T]) Get() *T {
	return getObject[T]((*pool)(unsafe.Pointer(p)), (*pool).getFast, (*pool).get)
}

// getObject is Get with its calls as parameters: see allocDirty.
func getObject[T any](p *pool, fast, slow func(*pool) unsafe.Pointer) *T {
	x := (*T)(fast(p))
	if x == nil {
		return (*T)(slow(p))
	}
	*x = *new(T)
	return x
}

// get is Get where the fast path has no slot.
func (p *pool) get() unsafe.Pointer { return must(p.tryGet()) }

// TryGet is Get that returns its error. After Close it panics with a *guard.Violation.
func (p *Pool[T]) TryGet() (*T, error) {
	x, err := (*pool)(unsafe.Pointer(p)).tryGet()
	return (*T)(x), err
}

func (p *pool) tryGet() (unsafe.Pointer, error) {
	b, err := zeroed(p.opened("Get").get(p.size, sizeclass.Granule))
	return addr(b), err
}

// opened returns the pool's heap. It panics if the Pool is nil or zero.
func (p *pool) opened(op string) *Heap {
	if p == nil || p.heap == nil {
		panic(zeroUse(op, "slab.OpenPool makes a Pool"))
	}
	return p.heap
}

// opened returns the pool's heap. It panics if the Pool is nil or zero.
func (p *Pool[T]) opened(op string) *Heap { return (*pool)(unsafe.Pointer(p)).opened(op) }

// Put takes an object back, and its handles are stale from here on. Its memory waits for the next Get, and
// goes back to the system as the memory of a Heap does. No collection empties a Pool, as it does a sync.Pool. Any goroutine may put any object. Putting
// nil does nothing. Put panics with a *guard.Violation, and changes nothing, if x is not a live object of
// the pool.
//
// Cost: one short call without a lock, for a T of up to 16 KiB.
func (p *Pool[T]) Put(x *T) {
	putObject((*pool)(unsafe.Pointer(p)), unsafe.Pointer(x), (*pool).putFast, (*pool).put)
}

// putObject is Put with its calls as parameters: see allocDirty.
func putObject(p *pool, x unsafe.Pointer, fast func(*pool, unsafe.Pointer) bool, slow func(*pool, unsafe.Pointer)) {
	if !fast(p, x) {
		slow(p, x)
	}
}

// put is Put where the fast path has not put x.
func (p *pool) put(x unsafe.Pointer) {
	if h := p.opened("Put"); x != nil {
		h.client().put("Put", x)
	}
}

// HandleOf returns the handle of x, an object of the pool; the zero Handle for nil. It panics with a
// *guard.Violation if x is not a live object of the pool.
func HandleOf[T any](p *Pool[T], x *T) Handle[T] {
	if x == nil {
		return Handle[T]{}
	}
	h := p.opened("HandleOf")
	h.markRead(unsafe.Pointer(x))
	_, it, ok := h.slots.Live(unsafe.Pointer(x))
	if !ok {
		return handleOfSampled(p, x)
	}
	generation := *h.slots.Generation(it.Offset())
	h.usable("HandleOf") // checked last: the heap may have been closed while it was read
	return Handle[T]{uint32(it.Offset() / sizeclass.Granule), generation ^ p.salt}
}

// handleOfSampled returns the handle of a sampled object, and panics if x is none.
func handleOfSampled[T any](p *Pool[T], x *T) Handle[T] {
	slot, generation, ok := sampled.Name(p.heap.id(), unsafe.Pointer(x))
	if !ok {
		p.heap.usable("HandleOf")
		panic(p.heap.noObject("HandleOf", unsafe.Pointer(x)))
	}
	return Handle[T]{sampledHandles + slot, generation ^ p.salt}
}

// Deref returns the object of p that x names. ok is false if the object was put back, and for the zero
// Handle. The object is valid until Put: see to it that no goroutine puts it while another uses it. Deref
// panics with a *guard.Violation if p is nil, zero, or closed.
//
// For a Handle of another pool ok is false: each pool mixes a random number of 31 bits into its handles. With a
// probability of 2^-31 two pools have the same number; then each may accept handles of the other.
//
// Cost: no lock, and no search: some nanoseconds.
func (x Handle[T]) Deref(p *Pool[T]) (object *T, ok bool) {
	if p != nil && p.heap != nil {
		t, off := &p.heap.slots, uintptr(x.at)*sizeclass.Granule
		if t.Covers(off) && x.generation%2 != 0 && *t.Generation(off) == x.generation^p.salt {
			// A handle of another pool may name no slot, and so may any handle once the heap is closed.
			if e := t.EntryAt(off); e.InSlab() {
				if i, place := e.Locate(off); t.State(i).LiveAt(place) {
					object = (*T)(unsafe.Add(t.Base(), off))
					p.heap.markRead(unsafe.Pointer(object))
					return object, true
				}
			}
		}
	}
	return x.derefOther(p)
}

// sampledHandles is the first value of Handle.at that names a sampled object. OpenPool leaves these
// granules out of the pool's region.
const sampledHandles uint32 = 1<<32 - sampled.MaxSlots

// derefOther returns the sampled object that x names; ok is false if x names none. It panics if the pool is
// not open.
func (x Handle[T]) derefOther(p *Pool[T]) (object *T, ok bool) {
	h := p.opened("Deref")
	if h.usable("Deref"); x.at < sampledHandles {
		return nil, false
	}
	at, ok := sampled.Named(h.id(), x.at-sampledHandles, x.generation^p.salt)
	if !ok {
		p.heap.usable("Deref") // after what was read
		return nil, false
	}
	return (*T)(at), true
}

// All iterates over the live objects in the order of their addresses, and over sampled objects last. The loop
// may put objects, get others, and purge: All yields only objects that are live at that moment. It may or may
// not yield objects that were allocated meanwhile. No other goroutine may put the object that the loop is at.
func (p *Pool[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		h := p.opened("All")
		h.usable("All")
		for object := range h.objects() {
			if !yield((*T)(object)) {
				return
			}
			p.heap.usable("All")
		}
		p.heap.usable("All")
	}
}

// Len returns the number of live objects. It takes as long as Stats.
func (p *Pool[T]) Len() int {
	h := p.opened("Len")
	n, _, _ := sampled.Live(h.id())
	for _, c := range h.Stats().Classes {
		n += c.Live
	}
	p.heap.usable("Len") // after what was read
	return n
}

// Stats returns the figures of the pool's heap: see Heap.Stats.
func (p *Pool[T]) Stats() Stats { return p.opened("Stats").Stats() }

// Resident asks the kernel how many bytes of the pool are in RAM: see Heap.Resident.
func (p *Pool[T]) Resident() (int64, error) { return p.opened("Resident").Resident() }

// Purge is Heap.Purge. Stale handles stay stale.
func (p *Pool[T]) Purge() error { return p.opened("Purge").Purge() }

// Close is Heap.Close.
func (p *Pool[T]) Close() error { return p.opened("Close").Close() }
