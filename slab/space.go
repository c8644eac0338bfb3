package slab

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/bitmap"
)

// The heap's region is divided into units of 64 KiB. A slab is one or several in a row.
const (
	unitBits = 16
	unit     = 1 << unitBits // bytes

	// maxReserve is the maximum size of a heap's region in bytes: the number of a granule has 32 bits.
	maxReserve = 64 << 30 >> (shrink32 * 8)
)

// space hands out units. Each is in a slab, free, or cold.
//
//	       ┌──────┬──────┬──────┬──────┬───────────┬──────┬─ ─ ─
//	units  │ slab │ free │ slab . slab │ discarded │ slab │ cold…
//	       └──────┴──────┴──────┴──────┴───────────┴──────┴─ ─ ─
//
// A free unit is committed, and may have old contents unless it is clean. A cold unit is not committed. Low
// addresses are taken first, so that free units gather at high addresses, where they become cold after a
// while.
//
// Decommitting free units between committed ones takes two mappings more, of which the process may hold
// vm.max_map_count. When package guard refuses these, the units are discarded: their memory goes back to
// the system in place, by a call that needs no mapping. Discarded units stay committed and charged. They are
// free and read zero, and become cold when there are mappings again.
//
// In a hardened heap the unit behind each slab is its guard, which faults. Where guards are kernel markers,
// the guard is committed, becomes free with the slab, and discarded units fault as guards do. Elsewhere the
// guard is not committed.
type space struct {
	mu        sync.Mutex
	region    *region.Region
	free      bitmap.Set
	clean     bitmap.Set // free units that read zero and are not in RAM
	discarded bitmap.Set // clean units that guard refused to decommit
	cold      bitmap.Set
	freed     []uint32 // when each free unit became free, in ticks
	hint      int      // no unit below is free or cold
	top       int      // every unit from here on is cold, and was never committed
	used      int      // units in slabs
	frees     int      // units that are free
	discards  int      // units that are discarded
	guards    int      // units behind each slab that are its guard
	marked    bool     // guards are committed, behind kernel markers
}

func (s *space) open(r *region.Region, hardened bool) {
	n := r.Size() / unit
	s.region = r
	if hardened {
		s.guards, s.marked = 1, guard.LightGuards()
	}
	s.free, s.clean, s.discarded, s.cold = bitmap.New(n), bitmap.New(n), bitmap.New(n), bitmap.New(n)
	s.cold.Add(0, n)
	s.freed = make([]uint32, n)
}

// take returns n units in a row, committed. clean tells whether they read zero.
func (s *space) take(n int) (first int, clean bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guards > 0 {
		return s.takeGuarded(n)
	}
	first = -1
	if s.frees >= n {
		first = s.free.Find(s.hint, s.top, n)
	}
	if first < 0 {
		if first, err = s.warm(n); err != nil {
			return 0, false, err
		}
	}
	clean = s.clean.HasAll(first, n)
	s.unfree(first, n)
	if first == s.hint {
		s.hint += n
	}
	s.used += n
	return first, clean, nil
}

// takeGuarded is take in a hardened heap: it leaves a guard behind the units.
func (s *space) takeGuarded(n int) (first int, clean bool, err error) {
	switch {
	case !s.marked || s.discards == 0: // where guards are not committed, only cold units can become guards
		first = s.cold.Find(s.hint, s.cold.Len(), n+s.guards)
	default:
		first = s.discarded.Find(s.hint, s.top, n+s.guards) // which are charged already
		if first < 0 {
			first = bitmap.FindEither(s.cold, s.discarded, s.hint, s.cold.Len(), n+s.guards)
		}
	}
	if first < 0 {
		return 0, false, s.full(n + s.guards)
	}
	if err = s.commitGuarded(first, n); err != nil {
		return 0, false, err
	}
	s.unfree(first, n+s.guards)
	s.cold.Remove(first, n+s.guards)
	s.top = max(s.top, first+n+s.guards)
	if first == s.hint {
		s.hint += n + s.guards
	}
	s.used += n
	return first, true, nil
}

// commitGuarded commits n units and, if guards are marked, the one behind, in one mapping with all
// that are beside them.
func (s *space) commitGuarded(first, n int) error {
	err := s.region.Commit(first*unit, s.extent(n)*unit)
	if err == nil {
		err = s.region.Unguard(first*unit, n*unit) // units that were guards, or discarded, or of zeroClass
	}
	if err == nil && s.marked {
		err = s.region.Guard((first+n)*unit, s.guards*unit)
	}
	if err != nil {
		s.uncommit(first, s.extent(n))
	}
	return err
}

// uncommit restores units to what they were before commitGuarded: cold or discarded.
func (s *space) uncommit(first, n int) {
	for i, end := first, first+n; i < end; {
		cold, run := s.cold.Has(i), 1
		for i+run < end && s.cold.Has(i+run) == cold {
			run++
		}
		if cold {
			_ = s.region.Decommit(i*unit, run*unit) // or it is committed already the next time
		} else {
			_ = s.region.Guard(i*unit, run*unit)
		}
		i += run
	}
}

// extent returns the number of units that are committed for a slab of n units.
func (s *space) extent(n int) int {
	if s.marked {
		return n + s.guards
	}
	return n
}

// warm commits the first n units in a row that are free or cold, and some that follow if they are
// cold: the more the larger the heap is, for fewer system calls.
func (s *space) warm(n int) (first int, err error) {
	first = bitmap.FindEither(s.free, s.cold, s.hint, s.cold.Len(), n)
	if first < 0 {
		return 0, s.full(n)
	}
	more := n
	for ahead := min(max(s.used/8, 1), 64); more < n+ahead && first+more < s.cold.Len() && s.cold.Has(first+more); {
		more++
	}
	if err = s.commit(first, more); err != nil && more > n {
		err = s.commit(first, n)
	}
	return first, err
}

func (s *space) commit(first, n int) error {
	if err := s.region.Commit(first*unit, n*unit); err != nil {
		return err
	}
	now := ticks()
	for i := first; i < first+n; i++ {
		if s.cold.Has(i) {
			s.cold.Remove(i, 1)
			s.free.Add(i, 1)
			s.clean.Add(i, 1)
			s.freed[i] = now
			s.frees++
		}
	}
	s.top = max(s.top, first+n)
	return nil
}

// give makes the n units of a slab free.
func (s *space) give(first, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	s.hint = min(s.hint, first)
	if s.guards > 0 && !s.marked {
		s.cold.Add(first+n, s.guards)
	}
	n = s.extent(n)
	now := ticks()
	s.free.Add(first, n)
	s.frees += n
	for i := first; i < first+n; i++ {
		s.freed[i] = now
	}
	if s.guards > 0 {
		pass := coolPass{now: now}
		s.coolRun(&pass, first, n) // what the kernel does not take now stays free
	}
}

// unfree takes units out of the sets of free ones, in which they may be.
func (s *space) unfree(first, n int) {
	s.frees -= s.free.Count(first, n)
	s.discards -= s.discarded.Count(first, n)
	s.free.Remove(first, n)
	s.clean.Remove(first, n)
	s.discarded.Remove(first, n)
}

// decommitUnits is Region.Decommit. Tests have their own.
var decommitUnits = (*region.Region).Decommit

// release makes free units cold, or discards them if there are no mappings for that; then refused is true.
func (s *space) release(first, n int) (refused bool, err error) {
	switch err = decommitUnits(s.region, first*unit, n*unit); {
	case err == nil:
		s.unfree(first, n)
		s.cold.Add(first, n)
		return false, nil
	case !errors.Is(err, guard.ErrNoMemory):
		s.clean.Remove(first, n) // the kernel may have taken some of it
		s.discards -= s.discarded.Count(first, n)
		s.discarded.Remove(first, n)
		return false, err
	}
	return true, s.discard(first, n)
}

// discard gives the memory of free units back to the system in place. It skips units that are discarded
// already.
func (s *space) discard(first, n int) error {
	for i, end := first, first+n; i < end; {
		if s.discarded.Has(i) {
			i++
			continue
		}
		run := 1
		for i+run < end && !s.discarded.Has(i+run) {
			run++
		}
		var err error
		switch {
		case s.marked:
			err = s.region.Guard(i*unit, run*unit) // as it would fault if it were decommitted
		case !s.clean.HasAll(i, run):
			err = s.region.Discard(i*unit, run*unit)
		}
		if err != nil {
			s.postpone(i, end-i)
			return err
		}
		s.clean.Add(i, run)
		s.discarded.Add(i, run)
		s.discards += run
		i += run
	}
	return nil
}

// postpone makes free units young, so that the kernel is not asked for them again at once.
func (s *space) postpone(first, n int) {
	now := ticks()
	for i := first; i < first+n; i++ {
		s.freed[i] = now
	}
}

// cool gives the memory of units back that have been free for some ticks. It takes time for those
// that have become free since the last time, and not for those that are discarded: of these it tries
// one run, and goes on if that can be decommitted by now.
func (s *space) cool(age uint32) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frees == 0 {
		return nil
	}
	pass := coolPass{now: ticks(), age: age}
	for i := s.hint; s.frees > s.discards; {
		if i = bitmap.FindOnly(s.free, s.discarded, i, s.top); i < 0 {
			break
		}
		n := 0
		for s.due(&pass, i+n) {
			n++
		}
		if n > 0 {
			s.coolRun(&pass, i, n)
		}
		i += max(n, 1)
	}
	for i := s.hint; s.discards > 0 && !pass.refused; {
		if i = s.discarded.Find(i, s.top, 1); i < 0 {
			break
		}
		s.coolRun(&pass, i, 1)
		for i < s.top && s.discarded.Has(i) {
			i++
		}
		i++
	}
	return pass.err
}

// coolPass is one pass over free units: those that have been free for age ticks are due.
type coolPass struct {
	now, age uint32
	refused  bool  // mappings were
	err      error // the first
}

// due tells whether a unit is free and due, or discarded.
func (s *space) due(pass *coolPass, u int) bool {
	return u < s.top && s.free.Has(u) && (s.discarded.Has(u) || pass.now-s.freed[u] >= pass.age)
}

// coolRun releases a run of free units, with those on either side that are discarded, because a
// longer run may take no mapping. If another run was refused, one that takes mappings is discarded
// without a try.
func (s *space) coolRun(pass *coolPass, first, n int) {
	for ; first > 0 && s.discarded.Has(first-1); first-- {
		n++
	}
	for first+n < s.top && s.discarded.Has(first+n) {
		n++
	}
	var err error
	if pass.refused && s.mappingDelta(first, n) > 0 {
		err = s.discard(first, n)
	} else {
		var refused bool
		refused, err = s.release(first, n)
		pass.refused = pass.refused || refused
	}
	pass.err = cmp.Or(pass.err, err)
}

// mappingDelta returns how many mappings decommitting a run of committed units adds: one where it
// ends beside a committed unit, and one less where it ends beside another.
func (s *space) mappingDelta(first, n int) int {
	return 2*b2i(s.committed(first-1)) + 2*b2i(s.committed(first+n)) - 2
}

// committed tells whether a unit beside free ones is committed.
func (s *space) committed(u int) bool { return u >= 0 && u < s.top && !s.cold.Has(u) }

// reserveError is the error for units that are not there. It is formatted when somebody reads it.
type reserveError struct {
	name          string
	more, reserve int // bytes
}

func (e *reserveError) Error() string {
	return fmt.Sprintf("slab: %q: %d bytes more exceed its Reserve of %d: %v", e.name, e.more, e.reserve, guard.ErrNoMemory)
}

func (e *reserveError) Unwrap() error { return guard.ErrNoMemory }

func (s *space) discardedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.discards) * unit
}

func (s *space) full(n int) error {
	return &reserveError{s.region.Name(), n * unit, s.region.Size()}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
