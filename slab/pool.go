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
// stale Handle may name the last of them. A Handle of another pool is refused: Deref says how surely.
type Handle[T any] struct {
	at         uint32 // in granules
	generation uint32 // of the object, XOR the pool's salt
}

// IsNil tells whether the handle is the zero Handle.
func (x Handle[T]) IsNil() bool { return x == Handle[T]{} }

// OpenPool opens a pool for a T of up to 1 MiB, less 8 bytes in a hardened one. The error names the
// field if T contains pointers, and wraps guard.ErrNoMemory where addresses are refused.
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

// Get returns a zeroed object: the one that was put back last on this processor, if there is one.
// It panics with an error that wraps guard.ErrNoMemory where there is no memory.
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
	b, err := p.opened("Get").tryAlloc(p.size, p.size, granule)
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

// HandleOf returns the handle of the object x of a pool; the zero Handle for nil. An x that is no
// object of the pool is a *guard.Violation.
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

// Deref returns the object of the pool that x names. ok is false if the object was put back, and for
// the zero Handle.
//
// A Handle of another pool is taken for one of p with a probability of 2^-31, because each pool mixes a
// random number of that many bits into its handles. Of two pools that were filled alike, each takes
// all handles of the other, with that probability, or none.
//
// The object is valid until Put. The user synchronises: nobody may put it back while another uses it.
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

// sampledHandles is what Handle.at begins with for sampled objects: there are no granules beyond, see
// openPool.
const sampledHandles uint32 = 1<<32 - sampled.MaxSlots

// derefOther returns the sampled object that x names, if it names one. It panics where the pool must
// not be used.
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
