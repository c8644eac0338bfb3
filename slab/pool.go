package slab

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// Pool hands out objects of one type from a Heap of its own: the promises of a Heap about memory, misuse
// and concurrency hold. It also names its objects. A Handle contains no pointer, so it may be stored
// off-heap, and it goes stale when its object is put back, even if another object has the place by then.
//
// OpenPool makes one; the methods of a zero or nil Pool panic with a *guard.Violation. A Pool must not be
// copied.
type Pool[T any] struct {
	_    nocopy.NoCopy
	heap *Heap
	size int

	salt        uint32 // mixed into the generations in handles. It is even, so it keeps them even or odd
	class       uint8  // of the slots
	magic       uint64 // of the class
	generations table  // a generation for each place where a slot can start: odd while an object is there
	ready       atomic.Uint64
	mu          sync.Mutex // guards the growth of generations
	region      *region.Region
	gone        bool // closed, and all memory is released
}

// Handle names an object of a Pool: HandleOf makes it, Deref follows it. It takes 8 bytes without a pointer.
// The zero Handle names no object. Handles of the same object are equal (==). After 2^31 objects in one place a
// stale Handle may name the last of them.
type Handle[T any] struct {
	at         uint32 // in granules
	generation uint32 // of the object, XOR the pool's salt
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
	class, ok := alignedClass(size, granule)
	if c.Hardened {
		class, ok = hardenedClass(size, granule)
	}
	if !ok {
		return nil, fmt.Errorf("slab: open pool %q: objects of %d bytes do not fit into slots of %d", c.Name, size, largestSlot)
	}
	return reserve(c, int(classes[class].pitch), func(c Config) (*Pool[T], error) { return openPool[T](c, size, class) })
}

func openPool[T any](c Config, size int, class uint8) (*Pool[T], error) {
	c.Reserve = min(c.Reserve, maxReserve-reserveUnit) // the last granules are for sampledHandles
	h, err := openHeap(c)
	if err != nil {
		return nil, err
	}
	k := &classes[class]
	p := &Pool[T]{heap: h, size: size, salt: rand.Uint32() &^ 1, class: class, magic: k.magic}
	p.region, err = region.Reserve(region.Config{Name: c.Name + ": generations", Size: generationsSize(h.config.Reserve, int(k.pitch)), PartOf: h.region, DeferOnSoft: true})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := p.region.KeepZeroes(p.region.Size()); err != nil {
		return nil, errors.Join(err, h.Close(), p.region.Close())
	}
	p.generations = table{base: p.region.Base(), region: p.region}
	return p, nil
}

// generationsSize returns how many bytes the generations take of all places where slots can start.
func generationsSize(reserve, pitch int) int { return (reserve/pitch + 1) * 4 }

// Get returns a zeroed object: in the place of the one that was put last on this processor, if there was
// one. The object is valid until Put. Get panics with an error that wraps guard.ErrNoMemory where there is
// no memory, and with a *guard.Violation after Close. Any goroutine may call it.
//
// Cost: the pin, a pop, a byte to compare and to write, a multiplication, a generation.
func (p *Pool[T]) Get() *T {
	h := p.opened("Get")
	pc := percpu.Pin(&h.caches)
	if pc != nil {
		m := pc.magazine(p.class)
		if rest, ok := m.next(); ok {
			it := *m.at(uint32(rest))
			place := p.place(uintptr(it.at()) * granule)
			if place < p.ready.Load() && h.claim(it) {
				m.n = rest
				*p.generation(place)++
				percpu.Unpin(pc)
				x := (*T)(h.at(it))
				if !it.clean() {
					*x = *new(T)
				}
				return x
			}
		}
	}
	percpu.Unpin(pc)
	return must(p.TryGet())
}

// TryGet is Get that returns its error.
func (p *Pool[T]) TryGet() (*T, error) {
	b, err := p.opened("Get").TryAlloc(p.size, granule)
	if err != nil {
		return nil, err
	}
	x := unsafe.Pointer(unsafe.SliceData(b))
	if sampled.Holds(x) {
		return (*T)(x), nil
	}
	place := p.place(uintptr(x) - uintptr(p.heap.base))
	if place >= p.ready.Load() {
		if err := p.reach(place, b); err != nil {
			return nil, err
		}
	}
	*p.generation(place)++
	return (*T)(x), nil
}

// opened returns the pool's heap. It panics if the Pool is nil or zero.
func (p *Pool[T]) opened(op string) *Heap {
	if p == nil || p.heap == nil {
		panic(zeroUse(op, "slab.OpenPool makes a Pool"))
	}
	return p.heap
}

// place returns the number of the place at an offset. Slots start at least their size apart, so two have
// different numbers.
func (p *Pool[T]) place(off uintptr) uint64 {
	place, _ := bits.Mul64(p.magic, uint64(off))
	return place
}

func (p *Pool[T]) generation(place uint64) *uint32 {
	return (*uint32)(unsafe.Add(p.generations.base, place*4))
}

// end makes the handles of the object at an offset stale. The generation is even afterwards, even if several
// goroutines put the object at the same moment.
func (p *Pool[T]) end(off uintptr) {
	generation := p.generation(p.place(off))
	*generation = (*generation + 1) &^ 1
}

// reach commits the generations up to the place of the object b, and frees b if that fails.
func (p *Pool[T]) reach(place uint64, b []byte) error {
	err := p.tryReach(place)
	done := false
	defer func() {
		if !done || err != nil { // OnSoft has panicked, or there is no memory
			p.heap.Free(b)
		}
	}()
	if region.Reclaim() && err != nil {
		err = p.tryReach(place)
	}
	done = true
	if err != nil {
		return fmt.Errorf("slab: %w", err)
	}
	return nil
}

func (p *Pool[T]) tryReach(place uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.generations.reach(int(place+1) * 4); err != nil {
		return err
	}
	p.ready.Store(uint64(p.generations.ready) / 4)
	return nil
}

// Put takes an object back; its handles are stale from here on. Any goroutine may put any object. Putting
// nil does nothing. Put panics with a *guard.Violation, and changes nothing, if x is not a live object of
// the pool.
func (p *Pool[T]) Put(x *T) {
	if x == nil {
		return
	}
	h := p.opened("Put")
	h.markWrite(unsafe.Pointer(x))
	pc := percpu.Pin(&h.caches)
	off := uintptr(unsafe.Pointer(x)) - uintptr(h.base) // wraps below the base
	if pc != nil && off>>unitBits < uintptr(h.edge.Load()) {
		_, state, exact := h.find(off)
		m := pc.magazine(p.class)
		if s, n, room := h.state(state), m.n, m.room; exact && *s == stateLive && uint32(n) < room {
			m.add(n, itemAt(off, state))
			*s = stateCached
			p.end(off)
			percpu.Unpin(pc)
			return
		}
	}
	percpu.Unpin(pc)
	p.putSlowly(x)
}

// putSlowly puts x if the magazine is full, or x lies in no slab. It panics if x is not a live object.
func (p *Pool[T]) putSlowly(x *T) {
	c, it, ok := p.heap.takeBack(unsafe.Pointer(x))
	if !ok {
		p.heap.usable("Put")
		if p.heap.freeSampled(unsafe.Pointer(x)) {
			return
		}
		panic(p.heap.noObject("Put", unsafe.Pointer(x)))
	}
	p.end(uintptr(it.at()) * granule) // before anybody else can get the slot
	raise(p.heap.put(c, it))
}

// HandleOf returns the handle of x, an object of the pool; the zero Handle for nil. It panics with a
// *guard.Violation if x is not a live object of the pool.
func HandleOf[T any](p *Pool[T], x *T) Handle[T] {
	if x == nil {
		return Handle[T]{}
	}
	h := p.opened("HandleOf")
	h.markRead(unsafe.Pointer(x))
	off := uintptr(unsafe.Pointer(x)) - uintptr(h.base)
	if !h.isLive(off) {
		return handleOfSampled(p, x)
	}
	generation := *p.generation(p.place(off))
	h.usable("HandleOf") // checked last: the heap may have been closed while it was read
	return Handle[T]{uint32(off / granule), generation ^ p.salt}
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
// A Handle of another pool is refused: each pool mixes a random number of 31 bits into its handles. With a
// probability of 2^-31 two pools have the same number; then each may accept handles of the other.
func (x Handle[T]) Deref(p *Pool[T]) (object *T, ok bool) {
	if p == nil {
		return x.derefOther(p)
	}
	off := uintptr(x.at) * granule
	place := p.place(off)
	if x.generation%2 == 0 || place >= p.ready.Load() || *p.generation(place) != x.generation^p.salt {
		return x.derefOther(p)
	}
	if !p.heap.isLive(off) { // a handle of another pool, or the heap was closed
		return x.derefOther(p)
	}
	object = (*T)(unsafe.Add(p.heap.base, off))
	p.heap.markRead(unsafe.Pointer(object))
	return object, true
}

// sampledHandles is the first value of Handle.at that names a sampled object. openPool leaves these
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

// Len returns the number of live objects.
func (p *Pool[T]) Len() int {
	h := p.opened("Len")
	n, _, _ := sampled.Live(h.id())
	for _, c := range h.Stats().Classes {
		n += c.Live
	}
	p.heap.usable("Len") // after what was read
	return n
}

// Stats returns the figures of the pool's heap, with the generations: see Heap.Stats.
func (p *Pool[T]) Stats() Stats {
	s := p.opened("Stats").Stats()
	if s.Reserved == 0 {
		return s
	}
	s.Reserved += p.region.Reserved()
	s.Committed += p.region.Committed()
	return s
}

// Resident asks the kernel how many bytes of the pool are in RAM, with the generations: see Heap.Resident.
func (p *Pool[T]) Resident() (int64, error) {
	total, err := p.opened("Resident").Resident()
	if err != nil {
		return 0, err
	}
	n, err := p.region.Resident()
	if err != nil {
		return 0, fmt.Errorf("slab: %w", err)
	}
	return total + n, nil
}

// Purge is Heap.Purge. Stale handles stay stale.
func (p *Pool[T]) Purge() error { return p.opened("Purge").Purge() }

// Close is Heap.Close.
func (p *Pool[T]) Close() error {
	err := p.opened("Close").Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, guard.ErrClosed) && !p.gone {
		err = nil
	}
	p.ready.Store(0)
	left := closeOnce(p.region)
	p.gone = err == nil && left == nil
	return errors.Join(err, left)
}
