package slab

import (
	"errors"
	"fmt"
	"iter"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Stats are the figures of a Heap or Pool, in bytes.
type Stats struct {
	Reserved  int64 // addresses, guards included
	Committed int64 // charged to the budget
	Live      int64 // slots, large objects and sampled objects in use
	HighWater int64 // the maximum of the bytes in slabs and large objects

	// Waste is the part of Live that nobody asked for: the ends of slots, and of the last OS pages of
	// large objects. For slots it is an estimate, made from the allocations that found the magazine empty.
	Waste int64

	// Committed memory that is not live is in one of these, in metadata, or in free units.
	Cached int64 // free slots in caches and depots, and freed large objects that are kept for the next
	Free   int64 // free slots in slabs: the cost of fragmentation
	Tails  int64 // the ends of slabs, where no slot fits

	// Discarded is the size of the free units that are out of RAM but stay charged to the budget:
	// decommitting them would take more mappings than the process may hold (vm.max_map_count). They are
	// used again before other units, and decommitted when there are mappings.
	Discarded int64

	// Abandoned is the size of the slots that were written to while they were free: they are not handed
	// out any more. Only a hardened heap notices.
	Abandoned int64

	Classes []ClassStats // the size classes that have slabs, the smallest first
}

// ClassStats are the figures of one size class.
type ClassStats struct {
	Size      int // of a slot, in bytes; 0 for the objects of no bytes in a hardened heap
	Slabs     int // number of slabs
	Live      int // number of slots in use
	Cached    int // number of free slots in caches and depots
	Free      int // number of free slots in slabs
	Abandoned int // number of slots: see Stats.Abandoned
	Asked     int // the mean size that was asked for, in bytes: an estimate, as Stats.Waste
}

// Stats returns the heap's figures. Any goroutine may call it while others allocate and free: a slot that
// changes hands meanwhile may be counted both as live and as cached. guard.Budget.OnSoft may call it, for
// the heap that commits, too. After Close all figures are zero but HighWater. It asks the kernel for nothing: see
// Resident.
//
// Cost: the lock of each size class, and a look at each cache: a few microseconds.
func (h *Heap) Stats() (s Stats) {
	h.made("Stats")
	s.HighWater = h.account.HighWater()
	if h.closed.Load() {
		return s
	}
	held := h.held()
	for i := range h.depots {
		c := &sizeclass.Table[i]
		d := &h.depots[i]
		d.mu.Lock()
		slabs, free, abandoned, batched := d.slabs, d.free, d.abandoned, len(d.batches)*int(c.MaxCached/2)+d.withheld.len()
		asked := int(c.Size)
		if d.asks > 0 {
			asked = min(d.asked/d.asks, asked)
		}
		d.mu.Unlock()
		if slabs == 0 {
			continue
		}
		k := ClassStats{Size: int(c.Size), Slabs: slabs, Cached: held[i] + batched, Free: free, Abandoned: abandoned, Asked: asked}
		k.Live = max(slabs*int(c.Slots)-k.Cached-k.Free-k.Abandoned, 0)
		s.Classes = append(s.Classes, k)
		s.Live += int64(k.Live) * int64(k.Size)
		s.Waste += int64(k.Live) * int64(k.Size-k.Asked)
		s.Cached += int64(k.Cached) * int64(k.Size)
		s.Free += int64(k.Free) * int64(k.Size)
		s.Abandoned += int64(k.Abandoned) * int64(k.Size)
		s.Tails += int64(slabs) * int64(c.Units*unit-c.Slots*c.Size)
	}
	s.Discarded = h.space.DiscardedBytes()
	_, sampled, committed := sampled.Live(h.id())
	s.Live += int64(sampled)
	s.Reserved += int64(committed) + h.region.Reserved()
	s.Committed += int64(committed) + h.region.Committed()
	for _, r := range h.metadata() {
		s.Reserved += r.Reserved()
		s.Committed += r.Committed()
	}
	h.large.addTo(&s)
	if h.closed.Load() { // meanwhile
		return Stats{HighWater: s.HighWater}
	}
	return s
}

// addTo adds the figures of large objects. They are kept as sums, however many objects there are.
func (l *largeObjects) addTo(s *Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Live += int64(l.bytes)
	s.Waste += int64(l.bytes - l.asked)
	s.Cached += int64(l.cache.bytes)
	s.Reserved += l.reserved + l.cache.reserved
	s.Committed += int64(l.bytes + l.cache.bytes)
	for _, left := range l.left {
		s.Reserved += left.region.Reserved()
		s.Committed += left.region.Committed()
	}
}

// Resident asks the kernel how many bytes of the heap are in RAM, metadata and cached memory included. Sampled objects
// count as they are committed. The error wraps errors.ErrUnsupported where the system does not tell, and
// guard.ErrClosed after Close. Any goroutine may call it.
//
// Cost: a system call for each large object, and for each 256 MiB committed.
func (h *Heap) Resident() (int64, error) {
	h.made("Resident")
	_, _, committed := sampled.Live(h.id())
	total := int64(committed)
	for _, r := range append(append(h.large.regions(), h.metadata()...), h.region) { // without a lock: it may take seconds
		n, err := r.Resident()
		switch {
		case err == nil:
			total += n
		case h.closed.Load():
			return 0, fmt.Errorf("slab: resident %q: %w", h.config.Name, guard.ErrClosed)
		case !errors.Is(err, guard.ErrClosed): // else a large object that was freed meanwhile
			return 0, fmt.Errorf("slab: %w", err)
		}
	}
	return total, nil
}

// count is for the registry: it is Stats.Live and the number of objects, without locks under which
// memory is committed. It reads what others write meanwhile, as Stats does.
func (h *Heap) count() (objects int, bytes int64, ok bool) {
	if h.closed.Load() {
		return 0, 0, true
	}
	held := h.held()
	for i := range h.depots {
		n := h.handedOut(uint8(i)) - held[i]
		objects += max(n, 0)
		bytes += int64(max(n, 0)) * int64(sizeclass.Table[i].Size)
	}
	h.large.mu.Lock()
	defer h.large.mu.Unlock()
	n, sampled, _ := sampled.Live(h.id())
	return objects + len(h.large.objects) + n, bytes + int64(h.large.bytes+sampled), true
}

// handedOut counts the slots of a class that its depot does not have. The race detector is not told.
//
//go:norace
func (h *Heap) handedOut(c uint8) int {
	d := &h.depots[c]
	n := d.slabs*int(sizeclass.Table[c].Slots) - d.free - d.abandoned - len(d.batches)*int(sizeclass.Table[c].MaxCached/2)
	return n - len(d.withheld.items) - len(d.withheld.queue)
}

// held counts the slots in the caches of processors and Locals, by class.
func (h *Heap) held() (n [sizeclass.Number]int) {
	for _, t := range h.tables {
		countCached(t, &n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.openLocals() {
		l.cache.count(&n)
	}
	return n
}

// countCached adds the slots in the caches of a table to n, by class.
func countCached(t *percpu.Table[cache], n *[sizeclass.Number]int) {
	for pc := range t.All() {
		pc.count(n)
	}
}

// count adds the slots in a cache to n, by class. It reads what the owner writes meanwhile: Stats promises
// no more. The race detector is not told, and not with a lock either: that would hide from it two
// goroutines that use one Local.
//
//go:norace
func (pc *cache) count(n *[sizeclass.Number]int) {
	for c := range pc.magazines {
		n[c] += int(pc.magazines[c].len())
	}
}

// objects iterates over the objects in slabs, in the order of their addresses, and those that were
// sampled.
func (h *Heap) objects() iter.Seq[unsafe.Pointer] {
	return func(yield func(unsafe.Pointer) bool) {
		for p := range h.slots.Objects() {
			if !yield(p) {
				return
			}
		}
		sampled.Objects(h.id())(yield)
	}
}
