// Package slab is a general allocator outside the Go heap: objects of any size, freed one by one,
// by any goroutine.
//
// # Memory
//
//	 a region of units, 64 KiB each
//	┌──────┬──────┬─────────────┬──────┬──────┬─ ─ ─
//	│ slab │ slab │    slab     │ free │ slab │ cold
//	└──────┴──────┴─────────────┴──────┴──────┴─ ─ ─
//	   │       └ 64-byte slots    └ committed   └ not committed
//	   ▼
//	┌────┬────┬────┬────┬ ─ ─ ┬────┐          ┌───┬───┬───┬───┬ ─
//	│slot│slot│slot│slot│     │slot│  states: │ 2 │ 0 │ 1 │ 2 │     a byte a slot, in another region
//	└────┴────┴────┴────┴ ─ ─ ┴────┘          └───┴───┴───┴───┴ ─
//
// A slab is a run of equal slots of one size class: there is a class for each 16 bytes up to 128,
// and eight between a power of two and the next up to 1 MiB. Larger objects are regions of their
// own. What the heap knows of its slots lies apart from them, so an overrun cannot reach it.
//
// # Life of a slot
//
//		       carve              pop              Free
//		free ────────▶  cached  ────────▶  live  ────────▶  cached
//		  ▲                │
//		  └────────────────┘ bring home
//
//	 1. Free slots of a slab are taken in the order of their addresses, a batch at a time, into a
//	    magazine: a stack of free slots of one class that one processor, or one Local, has.
//	 2. Alloc pops from the magazine, Free pushes onto it. That takes no lock.
//	 3. Half of a full magazine goes to the depot of the class, which hands it as it is to the next
//	    magazine that is empty, or brings the slots home to their slabs.
//	 4. A slab without live or cached slots is empty. One for each class is kept for a moment, the
//	    units of others become free, for slabs of any class.
//	 5. Units that stay free for half a second go back to the system, on the slow path of whoever
//	    comes next, and that call takes so much longer: there is no goroutine for it. After a pause so
//	    long, the slots that processors cache are brought home first, if they may keep slabs of a MiB
//	    or more from going back: that stops the world for some microseconds. Purge does it at once.
//
// # Concurrency
//
//  1. A Heap is for any number of goroutines. An object may be freed by any.
//  2. A Local is for one goroutine at a time, and saves it the processor's pin.
//  3. No lock is held while user memory is touched.
//  4. The objects are the user's to synchronise.
//  5. Close may come while others use the heap: their calls panic with a *guard.Violation then.
//  6. guard.Budget.OnSoft may use the heap, Pool or Local whose allocation it is called for.
//
// # Misuse
//
// Free looks up the state of the slot, so it panics with a *guard.Violation at once for what was
// freed already, for a pointer into an object or between objects, and for memory of others, and
// nothing is changed. An object that was freed, and whose slot was handed out again, cannot be told
// from the new one: a late Free frees that one. A write behind the end of an object, or after it was
// freed, goes unnoticed.
//
// Two goroutines that free one object at the same moment may both get through. Then the second of
// them that leaves a magazine is the violation, raised by the call that takes it out, which may be
// anybody's Alloc, Free, Purge or Local.Close; the heap is whole afterwards. It goes unnoticed in two
// cases: if both leave their magazines at the same moment, too; and if AllocDirty or Pool.Get takes the
// second one out after the slab was given back and its memory is a slab of another size. To notice the
// last case takes a tenth more time for each allocation.
//
// With Config.Hardened, one of two that free an object at the same moment is the violation, at
// once. A write to any byte between the end of an object and that of its slot is found when the
// object is freed, and one to the bytes before it when the object is that these are behind. What
// was freed is filled with a random pattern, and no slot is handed out again before others of its
// size were freed since (16 KiB of them, 512 at most, one at least): a write to it meanwhile is
// found when the slot is handed out again, and then nobody gets it any more; and a second Free is
// found until then. Purge, and running out of memory, end that. Slots are handed out in a random
// order, the memory behind each slab is inaccessible, and so is that of slabs that are empty. Large
// objects end where inaccessible memory begins, as far as their alignment allows, and objects of no
// bytes lie in such memory. The capacity of an object is its length, and Free[T] and FreeSlice
// compare the size of what they free with what was asked for. What it does not find: a write that
// is the same as what was there, one that leaps over what is behind the object into another, and a
// read that is not of inaccessible memory.
//
// The 64 KiB behind each slab of a hardened heap are charged to the budget, as what they guard is,
// and are never in RAM. Where guards are not kernel markers (guard.LightGuards) each takes two
// mappings instead: a slab is refused when regions have half of those that the process may hold
// (vm.max_map_count), after 1 GiB of slabs or more.
//
// # Race detector
//
// In builds with -race, a program that hands slots over by Free and reuse is clean: what a goroutine
// did before Free comes before what another does after Alloc. Alloc, Free, Put and Realloc count as
// writes to the object, Size, Handle, and At where it finds the object, as reads. So these are
// reported: two that free one object; who looks at, frees or reallocates an object by a stale
// pointer while another has the slot; who asks for the size of an object, or finds it by its handle,
// while another frees it.
//
// Plain loads and stores are not: the detector knows of the Go heap only. A program that is to have
// one of them looked at says RaceWrite beside it, or calls Size or Handle beside a load; the object
// counts as a whole. Large objects are not looked at: a touch after Free faults. Since the magazine
// of a processor has a lock in such builds, two goroutines that allocate may be taken to be
// synchronised when they are not.
//
// # Cost
//
// Alloc and Free look at the class, a magazine and the slot's state: three cache lines that are not
// the object's. See the README for figures beside C. A hardened heap reads all of a slot when it is
// handed out and writes all of it when it is freed, so the kernel counts it as resident from the
// start.
//
// # What it does not do
//
// It does not move objects, so slabs of which few slots are live stay: Stats.Free says how much
// that is.
package slab

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// Config says how a heap is opened. The zero Config is the default.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "heap".
	Name string

	// Reserve is the bytes of addresses for objects of up to 1 MiB; larger ones have regions of
	// their own. It is rounded up to 2 MiB. Metadata take a sixteenth on top, a third in a hardened
	// heap, and up to a quarter more in a Pool.
	//
	// Default 64 GiB, which is the most (256 MiB on 32-bit systems). Where RLIMIT_AS leaves fewer
	// addresses, the default is as much as takes, with all metadata, a quarter of what is free when
	// the heap is opened, so that Go's heap and others have room to grow; if that quarter is less
	// than 16 MiB, opening fails. Where the system refuses the default for another reason, it is
	// halved, down to 16 MiB.
	Reserve int

	// Limit is the most bytes that slabs and large objects may take at a time. Default none.
	//
	// It counts slabs, not objects: a slab serves one size class, counts as a whole, and makes room
	// for other sizes only when all of its slots are free. So 2,000 objects of 128 bytes that are
	// freed make no room for one of 640 as long as an object lives in each of their four slabs, or more.
	// Slots that other Locals keep for themselves make no room either. Where sizes shift at the Limit, have objects
	// that are freed together allocated together, or in a heap of their own; round sizes up to a few;
	// and leave an eighth and a MiB free for slabs that are not full.
	Limit int

	// Hardened catches more misuse, and is slower: see the package comment.
	Hardened bool
}

const (
	leastReserve = 16 << 20 // of what the default is halved to
	maxAlign     = 1 << 20
	reserveUnit  = 2 << 20

	// shrink32 is 1 where addresses have 32 bits.
	shrink32 = 1 - ^uintptr(0)>>63
)

// Heap is an allocator for any size and any number of goroutines. Open makes one: the methods of a
// zero Heap, and of a nil one, panic with a *guard.Violation.
type Heap struct {
	_       nocopy.NoCopy
	base    unsafe.Pointer // of the units
	entries unsafe.Pointer // see meta
	states  unsafe.Pointer // see meta
	meta    *meta
	edge    atomic.Uint32 // units below it may be in slabs; 0 once the heap is closed
	closed  atomic.Bool
	look    decay.Gate // of mayDecay
	drained decay.Gate // of reclaim, for the caches of processors
	hard    *hardened  // nil unless Config.Hardened

	caches percpu.Table[cache]
	depots [mostClasses]depot
	//lint:ignore U1000 builds for the race detector use it
	marks   marks
	space   space
	large   largeObjects
	account account
	region  *region.Region
	config  Config

	inUse      [mostClasses / 64]atomic.Uint64 // a bit for each class that has slabs
	returned   atomic.Uint32                   // see note
	collecting sync.Mutex

	closing sync.Mutex
	gone    bool // nothing is left of the closed heap. Written under closing

	mu     sync.Mutex                       // of what follows
	locals map[weak.Pointer[Local]]struct{} // those that are not closed
	opened uint                             // locals, ever

	dropped dropped // Locals, without Close
}

// Open reserves a heap. The error wraps guard.ErrNoMemory where addresses are refused.
func Open(c Config) (*Heap, error) {
	if c.Name == "" {
		c.Name = "heap"
	}
	return reserve(c, 0, openHeap)
}

// reserve opens a heap, or a pool of slots that are pitch bytes apart, with the Reserve that was asked
// for, or as much of the default as the process can spare.
func reserve[H any](c Config, pitch int, open func(Config) (H, error)) (opened H, err error) {
	switch {
	case c.Reserve < 0 || c.Limit < 0:
		return opened, fmt.Errorf("slab: open %q: Reserve %d and Limit %d must not be negative", c.Name, c.Reserve, c.Limit)
	case c.Reserve > most:
		return opened, fmt.Errorf("slab: open %q: Reserve %d is above %d: %w", c.Name, c.Reserve, most, guard.ErrNoMemory)
	}
	least := c.Reserve
	if c.Reserve == 0 {
		if c.Reserve, err = defaultReserve(pitch, c.Hardened); err != nil {
			return opened, fmt.Errorf("slab: open %q: %w", c.Name, err)
		}
		least = min(c.Reserve, leastReserve)
	}
	for {
		if opened, err = open(c); err == nil {
			return opened, nil
		}
		if c.Reserve == least || !errors.Is(err, guard.ErrNoMemory) {
			return opened, fmt.Errorf("slab: open %q: %w", c.Name, err)
		}
		c.Reserve = max(c.Reserve/2, least)
	}
}

// defaultReserve returns the largest Reserve that takes, with all metadata, no more addresses than
// region.DefaultReserve grants.
func defaultReserve(pitch int, hardened bool) (int, error) {
	want := addressesFor(most, pitch, hardened)
	granted, err := region.DefaultReserve(want)
	if err != nil {
		return 0, err
	}
	// Nearly all of it is in proportion to the units.
	size := int(float64(most) * (float64(granted) / float64(want)))
	size = min(alignUp(size+1, reserveUnit), most)
	for size > reserveUnit && addressesFor(size, pitch, hardened) > granted {
		size -= reserveUnit
	}
	return size, nil
}

// addressesFor returns how many bytes of addresses a heap takes with its metadata and, if slots are
// pitch bytes apart, the generations of its Pool.
func addressesFor(reserve, pitch int, hardened bool) (bytes int) {
	entries, records, states, sizes := metaSizes(reserve/unit, hardened)
	bytes = reserve + entries + records + states + sizes + 2*mappingOverhead
	if pitch > 0 {
		bytes += generationsSize(reserve, pitch) + mappingOverhead
	}
	return bytes
}

// mappingOverhead is the addresses that a region takes beyond its size, at the most: guards, and what
// its alignment costs.
const mappingOverhead = 2*unit + reserveUnit

func openHeap(c Config) (*Heap, error) {
	c.Reserve = alignUp(c.Reserve, reserveUnit)
	r, err := region.Reserve(region.Config{Name: c.Name, Size: c.Reserve, DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	m, err := openMeta(r, c.Reserve/unit, c.Hardened)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	h := &Heap{base: r.Base(), entries: m.entries.base, states: m.states.base, meta: m, region: r, config: c, locals: map[weak.Pointer[Local]]struct{}{}}
	h.account.name, h.account.limit = c.Name, c.Limit
	h.space.open(r, c.Hardened)
	h.large.objects = map[uintptr]largeObject{}
	if c.Hardened {
		h.hard = openHardened(m)
	}
	r.CountLive(h.count)
	return h, nil
}

// Close gives everything back. Objects must not be used any more: a touch faults. Other goroutines may
// be using the heap, or a Local of it: their calls panic with a *guard.Violation, "use after close", from
// then on, or fault where they touch an object that the call is for, as Alloc does to clear it. That
// holds as long as the heap's addresses are in quarantine (guard.SetQuarantine).
//
// A second Close is an error that wraps guard.ErrClosed. After any other error the heap is closed, but
// the kernel did not take all of it back, and another Close tries that again. Close stops the world for
// some microseconds.
func (h *Heap) Close() error {
	h.made("Close")
	h.closing.Lock()
	defer h.closing.Unlock()
	if !h.closed.Swap(true) {
		h.shut()
	} else if h.gone {
		return fmt.Errorf("slab: close %q: %w", h.config.Name, guard.ErrClosed)
	}
	err := errors.Join(h.large.close(), closeOnce(h.region), closeOnce(h.meta.region))
	h.gone = err == nil
	return err
}

// closeOnce closes a region that may be closed already.
func closeOnce(r *region.Region) error {
	if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
		return err
	}
	return nil
}

// shut makes every fast path miss, and the slow ones say why. When it returns no goroutine is on a
// fast path of a processor, or in a depot, any more. Those that are elsewhere find the metadata zero.
func (h *Heap) shut() {
	waitFor(&h.dropped.mu) // a recovery that comes later finds the heap closed
	percpu.Close(func(*cache) {}, h.allCaches()...)
	for i := range h.depots {
		waitFor(&h.depots[i].mu) // a goroutine that comes later sees that the heap is closed
	}
	h.edge.Store(0) // nobody raises it any more
	h.mu.Lock()
	for _, l := range h.openLocals() {
		l.forget()
		l.part.Close()
	}
	clear(h.locals)
	h.mu.Unlock()
	sampled.Close(h.id())
}

// waitFor returns when the goroutine that holds a lock has let go of it.
func waitFor(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

// stock is the caches that slots are taken from, and returns those that they are freed to: in a
// hardened heap these are not the same, and what is in them counts as withheld.
func (h *Heap) stock() *percpu.Table[cache] {
	if h.hard != nil {
		return &h.hard.stock
	}
	return &h.caches
}

func (h *Heap) returns() *percpu.Table[cache] {
	if h.hard != nil {
		return &h.hard.freed
	}
	return &h.caches
}

// allCaches are both.
func (h *Heap) allCaches() []*percpu.Table[cache] {
	if h.hard != nil {
		return []*percpu.Table[cache]{h.stock(), h.returns()}
	}
	return []*percpu.Table[cache]{&h.caches}
}

func (h *Heap) entry(unit uintptr) *entry {
	return (*entry)(unsafe.Add(h.entries, unit*unsafe.Sizeof(entry{})))
}

func (h *Heap) state(i uint32) *uint8 { return (*uint8)(unsafe.Add(h.states, uintptr(i))) }

// at is where an item's slot is.
func (h *Heap) at(it item) unsafe.Pointer { return unsafe.Add(h.base, uintptr(it.at())*granule) }
