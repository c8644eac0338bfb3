package slab

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/account"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
	"github.com/seed-9a6c551e/offheap/slab/internal/units"
)

// Config says how a heap is opened. The zero Config is the default.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "heap".
	Name string

	// Reserve is the number of bytes of address space for objects of up to 1 MiB; larger ones have regions of
	// their own. It is rounded up to a multiple of 2 MiB. Metadata take up to 7 % more, up to a third more in a
	// hardened heap, and up to a quarter on top of that in a Pool, and in a Heap from the first Ref on.
	//
	// The default is 64 GiB, which is the maximum (256 MiB on 32-bit systems). Where RLIMIT_AS leaves
	// fewer addresses, the default heap takes a quarter of them with all metadata, so that Go's heap
	// and others have room to grow; if that quarter is less than 16 MiB, opening fails. Where the
	// system refuses the default for another reason, it is halved, down to 16 MiB. A negative Reserve is an error,
	// and so is one above the maximum.
	//
	// The books of the addresses take Go heap without pointers: 4.8 MB for 64 GiB, 120 KB for 1 GiB. So give small
	// heaps a small Reserve if the program opens many.
	Reserve int

	// Limit is the maximum of bytes that slabs and large objects may take at a time. The default, 0, is
	// no limit. An allocation beyond it fails with an error that wraps guard.ErrNoMemory. Stats.Committed may be above
	// the Limit: metadata and free units do not count. A negative Limit is an error.
	//
	// It counts slabs, not objects. A slab serves one size class, counts as a whole, and makes room for other
	// sizes only when all of its slots are free. One live object in each slab is enough to keep all of them:
	// then 2,000 freed objects of 128 bytes make no room for one of 640.
	//
	// Freed large objects that are kept count, too, until they make room. Cached slots keep their slab. When
	// memory runs out, here or at guard.Budget.Hard, the caches of the processor and of the Local that ask are
	// emptied; those of other processors at most ten times a second, because that stops the world; and those of
	// other Locals not at all. So an allocation may fail although other goroutines freed enough objects. Call
	// Purge and try again before you free more.
	//
	// If sizes shift at the Limit, allocate objects together that are freed together, or give them a heap of
	// their own; round sizes up to a few; and leave room for slabs that are not full: an eighth and a MiB.
	Limit int

	// LimitCommitted has the Limit bound Stats.Committed: free units and metadata count, too, and so do freed large
	// objects that are kept. Guarded slots of sampled objects do not. Memory that is free is given back before an allocation
	// fails, which takes system calls where sizes shift at the Limit. A small heap has some 200 KB of metadata. Not
	// for hardened heaps: there, and without a Limit, it is an error. Default false.
	LimitCommitted bool

	// HugePages asks for huge pages for objects of up to 1 MiB, and commits memory for them in multiples of 2 MiB. Programs
	// that touch objects at random in a large heap look up fewer addresses then: see guard.Config.HugePages. At least 2
	// MiB are in RAM. It has no effect in a hardened heap. Default false.
	HugePages bool

	// Hardened makes the heap notice more misuse. It takes about five times as long. See Hardened heaps
	// in the package comment.
	Hardened bool
}

const (
	unitBits = units.Bits
	unit     = units.Size // bytes. A slab is one unit or several in a row

	// maxReserve is the maximum size of a heap's region in bytes: the number of a granule has 32 bits.
	maxReserve = 64 << 30 >> (shrink32 * 8)

	minReserve  = 16 << 20 // the default Reserve is not halved below
	maxAlign    = 1 << 20  // of objects
	reserveUnit = 2 << 20

	// shrink32 is 1 where addresses have 32 bits.
	shrink32 = 1 - ^uintptr(0)>>63
)

// Heap is an allocator for objects of any size and for any number of goroutines. Open makes one: the
// methods of a zero or nil Heap panic with a *guard.Violation. It must not be copied.
type Heap struct {
	_       nocopy.NoCopy
	slots   slots.Table
	closed  atomic.Bool
	look    decay.Gate // of client.decay
	drained decay.Gate // of client.reclaim, for the caches of processors
	hard    *hardened  // nil unless Config.Hardened

	caches percpu.Table[cache]    // of the fast paths. A hardened heap does not use it
	stock  *percpu.Table[cache]   // the caches that slots are taken from
	freed  *percpu.Table[cache]   // the caches that freed slots go to: others only in a hardened heap
	tables []*percpu.Table[cache] // stock, and freed if it is another
	depots [sizeclass.Number]depot
	//lint:ignore U1000 builds for the race detector use it
	marks   marks
	space   units.Space
	large   largeObjects
	account account.Account
	region  *region.Region
	config  Config

	inUse      [(sizeclass.Number + 63) / 64]atomic.Uint64 // a bit for each class that has slabs
	returned   atomic.Uint32                               // see note
	collecting sync.Mutex

	closing sync.Mutex
	gone    bool // nothing is left of the closed heap. Written under closing

	mu     sync.Mutex                       // guards locals, opened and resets
	locals map[weak.Pointer[Local]]struct{} // those that are not closed
	opened uint                             // the number of Locals that were ever made
	resets uint                             // the number of calls of Reset

	dropped dropped // Locals that became unreachable without Close
}

// Open reserves the addresses of a heap; memory is committed when it is allocated. The error wraps
// guard.ErrNoMemory where the system refuses the addresses.
//
// Cost: some milliseconds with the default Reserve. Keep a heap for as long as objects are needed.
func Open(c Config) (*Heap, error) {
	if c.Name == "" {
		c.Name = "heap"
	}
	return reserve(c, slots.NoClass, func(c Config) (*Heap, error) { return openHeap(c, slots.NoClass) })
}

// reserve opens a heap with the Reserve that the Config asks for, or with as much of the default as the
// process can spare. class is the class of a Pool, slots.NoClass for a Heap.
func reserve[H any](c Config, class int, open func(Config) (H, error)) (opened H, err error) {
	switch {
	case c.Reserve < 0 || c.Limit < 0:
		return opened, fmt.Errorf("slab: open %q: Reserve %d and Limit %d must not be negative", c.Name, c.Reserve, c.Limit)
	case c.LimitCommitted && (c.Hardened || c.Limit == 0):
		return opened, fmt.Errorf("slab: open %q: LimitCommitted needs a Limit, and a heap that is not hardened", c.Name)
	case c.Reserve > maxReserve:
		return opened, fmt.Errorf("slab: open %q: Reserve %d is above %d: %w", c.Name, c.Reserve, maxReserve, guard.ErrNoMemory)
	}
	least := c.Reserve
	if c.Reserve == 0 {
		if c.Reserve, err = defaultReserve(class, c.Hardened); err != nil {
			return opened, fmt.Errorf("slab: open %q: %w", c.Name, err)
		}
		least = min(c.Reserve, minReserve)
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

// defaultReserve returns the largest Reserve for which the heap and its metadata fit into the addresses
// that region.DefaultReserve grants.
func defaultReserve(class int, hardened bool) (int, error) {
	want := addressesFor(maxReserve, class, hardened)
	granted, err := region.DefaultReserve(want)
	if err != nil {
		return 0, err
	}
	// Nearly all of it is in proportion to the units.
	size := int(float64(maxReserve) * (float64(granted) / float64(want)))
	size = min(alignUp(size+1, reserveUnit), maxReserve)
	for size > reserveUnit && addressesFor(size, class, hardened) > granted {
		size -= reserveUnit
	}
	return size, nil
}

// addressesFor returns the bytes of addresses that a heap takes with its metadata.
func addressesFor(reserve int, class int, hardened bool) (bytes int) {
	c := slots.Config{Units: reserve / unit, Hardened: hardened, Class: class}
	return reserve + c.Addresses() + 2*mappingOverhead
}

// mappingOverhead bounds the addresses that a region takes besides its size: guards, and alignment.
const mappingOverhead = 2*unit + reserveUnit

// openHeap opens the heap of a Pool of a class, or with slots.NoClass a Heap.
func openHeap(c Config, class int) (*Heap, error) {
	c.Reserve = alignUp(c.Reserve, reserveUnit)
	r, err := region.Reserve(region.Config{Name: c.Name, Size: c.Reserve, HugePages: c.HugePages && !c.Hardened, DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	h := &Heap{region: r, config: c, locals: map[weak.Pointer[Local]]struct{}{}}
	h.account.Open(c.Name, c.Limit)
	metadata := slots.Config{Units: c.Reserve / unit, Hardened: c.Hardened, Class: class}
	if c.LimitCommitted {
		metadata.Charge, metadata.Refund = h.account.Charge, h.account.Refund
	}
	if err := h.slots.Open(r, metadata); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	h.space.Open(r, c.Hardened)
	if c.HugePages {
		h.space.CommitHuge()
	}
	if c.LimitCommitted {
		h.space.Account(h.account.Charge, h.account.Refund)
	}
	h.large.objects = map[uintptr]largeObject{}
	h.stock = &h.caches
	if !pointerfree.Trusted {
		h.stock = new(percpu.Table[cache]) // so that no fast path finds a cache: New would not look at its type
	}
	h.freed, h.tables = h.stock, []*percpu.Table[cache]{h.stock}
	if c.Hardened {
		h.harden()
	}
	r.CountLive(h.count)
	return h, nil
}

// Close releases all memory of the heap. A touch of an object faults from then on, as long as the heap's
// addresses are in quarantine (guard.SetQuarantine). Close stops the world for some microseconds.
//
// Other goroutines may use the heap, or a Local of it, meanwhile. Their calls panic with a *guard.Violation of
// the Kind guard.UseAfterClose. A call that touches an object itself, as Alloc does to clear it, may fault
// instead.
//
// A second Close returns an error that wraps guard.ErrClosed. After any other error the heap is closed,
// but the kernel refused to take some memory: call Close again to try that once more.
func (h *Heap) Close() error {
	h.made("Close")
	h.closing.Lock()
	defer h.closing.Unlock()
	if !h.closed.Swap(true) {
		h.shut()
	} else if h.gone {
		return fmt.Errorf("slab: close %q: %w", h.config.Name, guard.ErrClosed)
	}
	err := errors.Join(h.large.close(), closeOnce(h.region))
	for _, r := range h.metadata() {
		err = errors.Join(err, closeOnce(r))
	}
	h.gone = err == nil
	return err
}

// metadata returns the regions that metadata lie in.
func (h *Heap) metadata() []*region.Region {
	all := []*region.Region{h.slots.Region()}
	if r := h.slots.ReferencesRegion(); r != nil {
		all = append(all, r)
	}
	return all
}

// closeOnce closes a region that may be closed already.
func closeOnce(r *region.Region) error {
	if err := r.Close(); !errors.Is(err, guard.ErrClosed) {
		return err
	}
	return nil
}

// shut makes every fast path miss; slow paths then panic. When it returns, no goroutine is in a fast path, or uses a
// processor's cache or a depot. Goroutines that are elsewhere in the heap find its metadata zero.
func (h *Heap) shut() {
	waitFor(&h.dropped.mu) // a recovery that comes later finds the heap closed
	for i := range h.depots {
		waitFor(&h.depots[i].mu) // a goroutine that comes later sees that the heap is closed
	}
	h.slots.Shut() // nobody adds a slab any more
	percpu.Close(func(*cache) {}, h.tables...)
	h.mu.Lock()
	for _, l := range h.openLocals() {
		l.forget()
		l.part.Close()
	}
	clear(h.locals)
	h.mu.Unlock()
	percpu.Wait() // for the fast paths of Locals
	sampled.Close(h.id())
}

// waitFor returns when the goroutine that holds a lock has let go of it.
func waitFor(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
