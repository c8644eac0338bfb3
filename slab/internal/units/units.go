// Package units hands out the memory of a heap to its slabs, in units of 64 KiB, and gives units that no slab has
// needed for a while back to the system.
//
//	        hint                                              top
//	         ▼                                                 ▼
//	┌────────┬──────┬─────────────┬──────┬───────────┬────────┬─ ─ ─ ─ ─ ─ ─
//	│  slab  │ free │    slab     │ free │ discarded │  slab  │ decommitted
//	└────────┴──────┴─────────────┴──────┴───────────┴────────┴─ ─ ─ ─ ─ ─ ─
//
// A Space is one region. A slab has one unit or several in a row. Low addresses are taken first, so that free units
// gather at high addresses and are left alone long enough to be decommitted.
//
// # Life of a unit
//
//	state         charged   in RAM   contents
//	decommitted   no        no       faults
//	taken         yes       yes      its slab's
//	free          yes       yes      old ones
//	 - clean      yes       no       zero
//	 - discarded  yes       no       zero; in a hardened heap it faults
//	guard         see 7     no       faults
//
// From one state to the next:
//
//	                Take                Give
//	decommitted ──────────▶  taken  ────────────▶  free
//	  ▲  │                    ▲  ▲                 │  │
//	  │  │ Take more          │  └──────── Take ───┘  │ Purge
//	  │  │ than asked         │                       │
//	  │  └──▶ free, clean ────┤                       │
//	  │                       │ Take                  │
//	  │       discarded ──────┘                       │
//	  │        │     ▲                                │
//	  │        │     └────────────── no mapping left ─┤
//	  └────────┴──────────────────────────────────────┘
//
// In words:
//
//  1. At first all units are decommitted: they have addresses, and nothing else.
//  2. Take looks for units in a row that are free, or else free or decommitted. Those that are decommitted it
//     commits, which charges the budget.
//  3. With them it commits some units more, if those behind are decommitted too, to make fewer system calls. These
//     are free and clean: they read zero, and are not in RAM.
//  4. Give makes the units of a slab free. They keep their contents.
//  5. Purge decommits the units that have been free for so long as its caller says.
//  6. Where that would take more mappings than the process may hold, Purge discards the units: their memory goes
//     back to the system in place, by a call that takes no mapping. Discarded units are free and clean, and stay
//     charged. Take uses them, and each Purge tries again to decommit them. See mapping_limit.go.
//  7. In the space of a hardened heap the unit behind each slab is its guard, and Give decommits at once. See
//     guards.go.
//
// # Concurrency
//
//  1. Any number of goroutines may use a Space. One mutex guards all of it.
//  2. System calls are made under the mutex. User code does not run under it: the region must have
//     region.Config.DeferOnSoft, so that Commit does not call guard.Budget.OnSoft. User memory is not touched.
//  3. Callers may hold locks of their own. A Space calls the region and nothing else.
//
// # Cost
//
// Take searches bitmaps from the lowest unit that is not taken, 64 units a step. It makes system calls where nothing is
// free: one for an eighth more than is taken, at most 64 units more. Give makes none, except where there are guards.
// The books take 4½ bytes a unit, on the Go heap, without pointers.
//
// # What it does not do
//
// It does not clear memory: Take says whether the units read zero. It has no clock: callers pass the time, in ticks of
// internal/decay. It does not know slabs, nor the Limit: package account does.
package units

import (
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/bitmap"
)

// Size is the bytes of a unit: 1 << Bits.
const (
	Bits = 16
	Size = 1 << Bits
)

// Space is the memory for a heap's slabs. Call Open before anything else. It must not be copied.
type Space struct {
	mu     sync.Mutex
	region *region.Region

	free        bitmap.Set
	clean       bitmap.Set // free units that read zero and are not in RAM
	discarded   bitmap.Set // clean units that had to stay committed: see mapping_limit.go
	decommitted bitmap.Set
	freedAt     []uint32 // when each free unit became free, in ticks

	hint int // no unit below is free or decommitted
	top  int // every unit from here on was never committed

	nTaken, nFree, nDiscarded int // units in that state

	guards  int  // units behind each slab that are its guard: 1 in a hardened heap
	markers bool // guards are committed, and have kernel markers

	huge   bool                  // see CommitHuge
	charge func(bytes int) error // see Account
	refund func(bytes int)

	intercept func(mappings int) error // see Intercept
	changes   int                      // see checked
}

// Open divides an empty region into units, with a guard behind each slab if the heap is hardened.
func (s *Space) Open(r *region.Region, hardened bool) {
	n := r.Size() / Size
	s.region = r
	if hardened {
		s.guards, s.markers = 1, guard.LightGuards()
	}
	s.free, s.clean, s.discarded, s.decommitted = bitmap.New(n), bitmap.New(n), bitmap.New(n), bitmap.New(n)
	s.decommitted.Add(0, n)
	s.freedAt = make([]uint32, n)
}

// Account has charge called before units are committed, and refund after they were decommitted, with their bytes. If charge
// returns an error, Take gives free units back, and tries once more; then it returns the error. Both are called under the mutex.
// Call Account before anything is taken. A hardened space does not call them.
func (s *Space) Account(charge func(bytes int) error, refund func(bytes int)) {
	s.charge, s.refund = charge, refund
}

// CommitHuge has Take commit whole huge pages, where there is memory for them: otherwise the kernel puts small pages there. A
// hardened space does not.
func (s *Space) CommitHuge() { s.huge = true }

// unitsPerHugePage is the number of units in 2 MiB.
const unitsPerHugePage = 2 << 20 / Size

// Take takes n units in a row, at least one, and returns the first. clean tells whether they read zero. The error wraps
// guard.ErrNoMemory: a *FullError, or the region's error.
func (s *Space) Take(n int, now uint32) (first int, clean bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.checked()
	if s.guards > 0 {
		return s.takeGuarded(n)
	}
	first = -1
	if s.nFree >= n {
		first = s.free.Find(s.hint, s.top, n)
	}
	if first < 0 {
		if first, err = s.commitMore(n, now); err != nil {
			return 0, false, err
		}
	}
	clean = s.clean.HasAll(first, n)
	s.removeFree(first, n)
	if first == s.hint {
		s.hint += n
	}
	s.nTaken += n
	return first, clean, nil
}

// commitMore commits the first n units in a row that are free or decommitted, and some behind them that are
// decommitted: the more the larger the heap is, for fewer system calls.
func (s *Space) commitMore(n int, now uint32) (first int, err error) {
	all := s.decommitted.Len()
	first = bitmap.FindEither(s.free, s.decommitted, s.hint, all, n)
	if first < 0 {
		return 0, s.full(n)
	}
	more := n
	ahead := min(max(s.nTaken/8, 1), 64)
	if s.huge {
		ahead += unitsPerHugePage - 1 - (first+n+ahead-1)%unitsPerHugePage
	}
	for more < n+ahead && first+more < all && s.decommitted.Has(first+more) {
		more++
	}
	if err = s.commit(first, more, now); err != nil && more > n {
		err = s.commit(first, n, now)
	}
	if err != nil && s.charge != nil && s.nFree > 0 {
		_ = s.purge(0, now) // the next commit has the error that counts
		if first = bitmap.FindEither(s.free, s.decommitted, s.hint, all, n); first < 0 {
			return 0, s.full(n)
		}
		err = s.commit(first, n, now)
	}
	return first, err
}

// commit makes the decommitted ones of n units free and clean.
func (s *Space) commit(first, n int, now uint32) error {
	bytes := s.decommitted.Count(first, n) * Size
	if s.charge != nil {
		if err := s.charge(bytes); err != nil {
			return err
		}
	}
	if err := s.region.Commit(first*Size, n*Size); err != nil {
		if s.charge != nil {
			s.refund(bytes)
		}
		return err
	}
	for i := first; i < first+n; i++ {
		if s.decommitted.Has(i) {
			s.decommitted.Remove(i, 1)
			s.free.Add(i, 1)
			s.clean.Add(i, 1)
			s.freedAt[i] = now
			s.nFree++
		}
	}
	s.top = max(s.top, first+n)
	return nil
}

// Give makes the n units of a slab free, as Take returned them.
func (s *Space) Give(first, n int, now uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.checked()
	s.nTaken -= n
	s.hint = min(s.hint, first)
	if s.guards > 0 {
		s.giveGuarded(first, n, now)
		return
	}
	s.addFree(first, n, now)
}

// addFree puts taken units into the set of free ones.
func (s *Space) addFree(first, n int, now uint32) {
	s.free.Add(first, n)
	s.nFree += n
	s.postpone(first, n, now)
}

// removeFree takes units out of the sets of free ones, in which they may be.
func (s *Space) removeFree(first, n int) {
	s.nFree -= s.free.Count(first, n)
	s.nDiscarded -= s.discarded.Count(first, n)
	s.free.Remove(first, n)
	s.clean.Remove(first, n)
	s.discarded.Remove(first, n)
}

// postpone has free units wait from now on, before the kernel is asked to take them.
func (s *Space) postpone(first, n int, now uint32) {
	for i := first; i < first+n; i++ {
		s.freedAt[i] = now
	}
}

// Taken returns the number of units in slabs, guards not included.
func (s *Space) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nTaken
}

// DiscardedBytes returns the size of the units that are discarded.
func (s *Space) DiscardedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.nDiscarded) * Size
}

// FullError is the error of a request for more units in a row than there are. A full heap may make one all the time, so
// the text is formatted when somebody reads it. It wraps guard.ErrNoMemory.
type FullError struct {
	Name          string
	More, Reserve int // bytes: that were asked for, with their guard, and of the region
}

func (e *FullError) Error() string {
	return fmt.Sprintf("slab: %q: %d bytes more exceed its Reserve of %d: %v", e.Name, e.More, e.Reserve, guard.ErrNoMemory)
}

func (e *FullError) Unwrap() error { return guard.ErrNoMemory }

// full returns the error for n units that are not there.
func (s *Space) full(n int) error { return &FullError{s.region.Name(), n * Size, s.region.Size()} }
