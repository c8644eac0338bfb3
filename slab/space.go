package slab

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
)

// The heap's region is divided into units of 64 KiB. A slab is one or several in a row.
const (
	unitBits = 16
	unit     = 1 << unitBits // bytes

	most = 64 << 30 >> (shrink32 * 8) // bytes of a heap's region: so that the number of a granule has 32 bits
)

// space hands out units. Each is in a slab, free, or free and cold.
//
//	       ┌──────┬──────┬──────┬──────┬──────┬──────┬─ ─ ─
//	units  │ slab │ free │ slab . slab │ cold │ free │ cold…
//	       └──────┴──────┴──────┴──────┴──────┴──────┴─ ─ ─
//
// A free unit is committed, and may have old contents unless it is clean. A cold one is not
// committed. Low addresses go first, so that what is not needed gathers at high ones and is given
// back after a while.
type space struct {
	mu     sync.Mutex
	region *guard.Region
	free   bitmap
	clean  bitmap // of those that are free: never used since they were committed
	cold   bitmap
	freed  []uint32 // when each free unit became free, in ticks
	hint   int      // no unit below is free or cold
	used   int      // units in slabs
	seams  int      // see seams
	guards int      // units behind each slab that are kept from others
	marked bool     // these are committed, behind markers; else they are not committed
}

func (s *space) open(region *guard.Region, hardened bool) {
	n := region.Size() / unit
	s.region = region
	if hardened {
		s.guards, s.marked = 1, guard.LightGuards()
	}
	s.free, s.clean, s.cold = newBitmap(n), newBitmap(n), newBitmap(n)
	s.cold.set(0, n)
	s.freed = make([]uint32, n)
}

// take returns n units in a row, committed. clean tells whether they read zero.
func (s *space) take(n int) (first int, clean bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guards > 0 {
		return s.takeGuarded(n)
	}
	first = s.free.find(s.hint, n)
	if first < 0 {
		if first, err = s.warm(n); err != nil {
			return 0, false, err
		}
	}
	clean = s.clean.all(first, n)
	s.free.clear(first, n)
	s.clean.clear(first, n)
	if first == s.hint {
		s.hint += n
	}
	s.used += n
	return first, clean, nil
}

// takeGuarded is take that leaves a guard behind the slab.
func (s *space) takeGuarded(n int) (first int, clean bool, err error) {
	first = s.cold.find(s.hint, n+s.guards)
	if first < 0 {
		return 0, false, s.full(n + s.guards)
	}
	if !s.marked {
		err = s.mayAdd(2)
	}
	if err == nil {
		err = s.commitGuarded(first, n)
	}
	if err != nil {
		return 0, false, err
	}
	s.count(s.added(first, s.extent(n)))
	s.cold.clear(first, n+s.guards)
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
		err = s.region.Unguard(first*unit, n*unit) // what was a guard of other slabs, or objects of no bytes
	}
	if err == nil && s.marked {
		err = s.region.Guard((first+n)*unit, s.guards*unit)
	}
	if err != nil {
		_ = s.region.Decommit(first*unit, s.extent(n)*unit) // or it is committed already the next time
	}
	return err
}

// extent is what is committed for a slab of n units.
func (s *space) extent(n int) int {
	if s.marked {
		return n + s.guards
	}
	return n
}

// warm commits the first n units in a row that are free or cold, and some that follow if they are
// cold: the more the larger the heap is, for fewer system calls.
func (s *space) warm(n int) (first int, err error) {
	first = findEither(s.free, s.cold, s.hint, n)
	if first < 0 {
		return 0, s.full(n)
	}
	more := n
	for ahead := min(max(s.used/8, 1), 64); more < n+ahead && first+more < s.cold.n && s.cold.has(first+more); {
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
		if s.cold.has(i) {
			s.count(s.added(i, 1))
			s.cold.clear(i, 1)
			s.free.set(i, 1)
			s.clean.set(i, 1)
			s.freed[i] = now
		}
	}
	return nil
}

// give takes units back.
func (s *space) give(first, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hint = min(s.hint, first)
	s.used -= n
	now := ticks()
	s.free.set(first, n)
	for i := first; i < first+n; i++ {
		s.freed[i] = now
	}
	if s.guards > 0 {
		_ = s.decommit(first, n) // what the kernel does not take now stays free
	}
}

// decommit makes free units cold, and the guard behind with them.
func (s *space) decommit(first, n int) error {
	more := -s.added(first, s.extent(n))
	err := s.mayAdd(more)
	if err == nil {
		if err = s.region.Decommit(first*unit, s.extent(n)*unit); err != nil {
			s.clean.clear(first, n) // the kernel may have taken some of it
		}
	}
	if err != nil {
		return err
	}
	s.count(more)
	s.free.clear(first, n)
	s.clean.clear(first, n)
	s.cold.set(first, n+s.guards)
	return nil
}

// cool decommits what has been free for some ticks.
func (s *space) cool(age uint32) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := ticks()
	for i := s.free.find(s.hint, 1); i >= 0; i = s.free.find(i, 1) {
		n := 0
		for i+n < s.free.n && s.free.has(i+n) && now-s.freed[i+n] >= age {
			n++
		}
		if n == 0 {
			i++
			continue
		}
		err = cmp.Or(s.decommit(i, n), err)
		i += n
	}
	return err
}

// full is the error for units that are not there.
func (s *space) full(n int) error {
	return fmt.Errorf("%q: %d bytes more exceed its Reserve of %d: %w", s.region.Name(), n*unit, s.region.Size(), guard.ErrNoMemory)
}
