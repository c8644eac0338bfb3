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

// Pool hands out objects of one type. It is a Heap of its own, so what is said there of memory,
// misuse and concurrency holds, and it can name its objects: a Handle has no pointer, may be stored
// off-heap, and is refused when its object was put back, even if another has its place by now.
//
// OpenPool makes one; use of the zero Pool is a *guard.Violation.
type Pool[T any] struct {
	_    nocopy.NoCopy
	heap *Heap
	size int

	salt        uint32 // of the generations in handles: even, so that what is odd stays odd
	class       uint8  // of the slots
	magic       uint64
	generations table // of each place where a slot can start: odd while it is an object
	ready       atomic.Uint64
	mu          sync.Mutex // of generations
	region      *region.Region
	gone        bool // closed, and nothing of it is left
}

// Handle names an object of a Pool. The zero Handle names none. After 2^31 objects in one place a
// stale Handle may name the last of them. A Handle of another pool is refused, with the probability that
// Pool.At gives.
type Handle[T any] struct {
	at         uint32 // in granules
	generation uint32 // of the object, XOR the pool's salt
}

// IsNil tells whether the handle is the zero Handle.
func (x Handle[T]) IsNil() bool { return x == Handle[T]{} }

// OpenPool opens a pool for a T of up to 1 MiB, less 8 bytes in a hardened one. It panics with an
// error that names the field if T contains pointers. The error wraps guard.ErrNoMemory where
// addresses are refused.
func OpenPool[T any](c Config) (*Pool[T], error) {
	mustBePointerFree((*T)(nil))
	if c.Name == "" {
		c.Name = "pool"
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
	c.Reserve = min(c.Reserve, most-reserveUnit) // the last granules are for sampledHandles
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

// Get returns a zeroed object: the one that was put back last on this processor, if there is one.
// It panics with an error that wraps guard.ErrNoMemory where there is no memory.
//
// Cost: the pin, a pop, a byte to compare and to write, a multiplication, a generation.
func (p *Pool[T]) Get() *T {
	h := p.opened("Get")
	pc := percpu.Pin(&h.caches)
	if pc != nil {
		m := pc.magazine(p.class)
		if it, rest, ok := m.top(); ok {
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
	b, err := p.opened("Get").TryAlloc(p.size)
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

// opened returns the pool's heap, and panics for a nil or a zero Pool.
func (p *Pool[T]) opened(op string) *Heap {
	if p == nil || p.heap == nil {
		panic(zeroUse(op, "slab.OpenPool makes a Pool"))
	}
	return p.heap
}

// place numbers the places where slots can start: slots are apart by their size at least.
func (p *Pool[T]) place(off uintptr) uint64 {
	place, _ := bits.Mul64(p.magic, uint64(off))
	return place
}

func (p *Pool[T]) generation(place uint64) *uint32 {
	return (*uint32)(unsafe.Add(p.generations.base, place*4))
}

// end makes the handles of what was an object stale. It is even afterwards, however often it was put
// back at the same moment.
func (p *Pool[T]) end(off uintptr) {
	generation := p.generation(p.place(off))
	*generation = (*generation + 1) &^ 1
}

// reach commits the generations up to the place of b, which is freed if that fails.
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

// offset returns where an object is; what is none is a *guard.Violation.
func (p *Pool[T]) offset(op string, x *T) uintptr {
	if _, _, ok := p.heap.lookup(unsafe.Pointer(x)); !ok {
		p.heap.usable(op)
		panic(p.heap.noObject(op, unsafe.Pointer(x)))
	}
	return uintptr(unsafe.Pointer(x)) - uintptr(p.heap.base)
}

// Put takes an object back. Its handles are stale from here on. Putting nil does nothing; what is
// no object of the pool, or not any more, is a *guard.Violation.
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
		if s := h.state(state); exact && *s == stateLive && pc.magazine(p.class).push(newItem(uint32(off/granule), state)) {
			*s = stateCached
			p.end(off)
			percpu.Unpin(pc)
			return
		}
	}
	percpu.Unpin(pc)
	p.putSlowly(x)
}

// putSlowly is Put where the magazine is full, or there is no object.
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

// Handle returns the handle of an object; the zero Handle for nil. What is no object of the pool is
// a *guard.Violation.
func (p *Pool[T]) Handle(x *T) Handle[T] {
	if x == nil {
		return Handle[T]{}
	}
	p.opened("Handle").markRead(unsafe.Pointer(x))
	if slot, generation, ok := sampled.Name(p.heap.id(), unsafe.Pointer(x)); ok {
		return Handle[T]{sampledHandles + slot, generation ^ p.salt}
	}
	off := p.offset("Handle", x)
	generation := *p.generation(p.place(off))
	p.heap.usable("Handle") // after what was read
	return Handle[T]{uint32(off / granule), generation ^ p.salt}
}

// At returns the object that a handle names; ok is false if it was put back, and for the zero Handle.
//
// At takes a Handle of another pool with a probability of 2^-31, because each pool mixes a random number of
// that many bits into its handles. Of two pools that were filled alike each takes all handles of the
// other, with that probability, or none.
//
// Nobody may put the object back while it is used: that is the user's to synchronise.
func (p *Pool[T]) At(x Handle[T]) (object *T, ok bool) {
	if p == nil {
		return p.sampledAt(x) // which says so, and of a zero Pool, too
	}
	off := uintptr(x.at) * granule
	place := p.place(off)
	if x.generation%2 == 0 || place >= p.ready.Load() || *p.generation(place) != x.generation^p.salt {
		return p.sampledAt(x)
	}
	object = (*T)(unsafe.Add(p.heap.base, off))
	_, _, ok = p.heap.lookup(unsafe.Pointer(object)) // it is, but for handles of others
	if !ok {
		p.heap.usable("At")
		return nil, false
	}
	p.heap.markRead(unsafe.Pointer(object))
	return object, true
}

// sampledHandles is what Handle.at begins with for sampled objects: there are no granules beyond, see
// openPool.
const sampledHandles uint32 = 1<<32 - sampled.MaxSlots

// sampledAt is At for sampled objects.
func (p *Pool[T]) sampledAt(x Handle[T]) (object *T, ok bool) {
	h := p.opened("At")
	if h.usable("At"); x.at < sampledHandles {
		return nil, false
	}
	at, ok := sampled.Named(h.id(), x.at-sampledHandles, x.generation^p.salt)
	if !ok {
		p.heap.usable("At") // after what was read
		return nil, false
	}
	return (*T)(at), true
}

// All iterates over the objects, in the order of their addresses, those that are sampled last. The
// loop may put objects back, get others, and purge: what it meets is an object when it is met.
// Whether it meets what comes meanwhile is open; that nobody else puts back what it is at is the
// user's to see to.
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

// Len returns the number of objects.
func (p *Pool[T]) Len() int {
	h := p.opened("Len")
	n, _, _ := sampled.Live(h.id())
	for _, c := range h.Stats().Classes {
		n += c.Live
	}
	p.heap.usable("Len") // after what was read
	return n
}

// Stats returns the figures of the pool's heap, the generations with them.
func (p *Pool[T]) Stats() Stats {
	s := p.opened("Stats").Stats()
	if s.Reserved == 0 {
		return s
	}
	s.Reserved += p.region.Reserved()
	s.Committed += p.region.Committed()
	if n, err := p.region.Resident(); err == nil && s.Resident >= 0 {
		s.Resident += n
	}
	return s
}

// Purge is Heap.Purge. Handles that are stale stay so.
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
