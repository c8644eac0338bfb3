package units

import (
	"cmp"
	"errors"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Decommitting free units between committed ones takes two mappings more. The process may hold vm.max_map_count of them,
// and package guard refuses what exceeds its part. Units that cannot be decommitted are discarded.
//
//	┌──────┬─────────────┬──────┐           ┌──────┬─────────────┬──────┐
//	│ slab │ decommitted │ slab │           │ slab │  discarded  │ slab │
//	└──────┴─────────────┴──────┘           └──────┴─────────────┴──────┘
//	  three mappings                          one mapping

// giveBack decommits a run of free units, or discards it. Units on either side that are discarded already belong to the
// run, because decommitting a longer one may take no mapping. After one refusal in a pass, a run that takes mappings is
// discarded without a try.
func (s *Space) giveBack(p *pass, first, n int) {
	for ; first > 0 && s.discarded.Has(first-1); first-- {
		n++
	}
	for first+n < s.top && s.discarded.Has(first+n) {
		n++
	}
	var err error
	if p.refused && s.mappingDelta(first, n) > 0 {
		err = s.discard(first, n, p.now)
	} else {
		var refused bool
		refused, err = s.decommit(first, n, p.now)
		p.refused = p.refused || refused
	}
	p.err = cmp.Or(p.err, err)
}

// decommit decommits free units, or discards them if there are no mappings for that; then refused is true.
func (s *Space) decommit(first, n int, now uint32) (refused bool, err error) {
	if s.intercept != nil {
		err = s.intercept(s.mappingDelta(first, n))
	}
	if err == nil {
		err = s.region.Decommit(first*Size, n*Size)
	}
	switch {
	case err == nil:
		s.removeFree(first, n)
		s.decommitted.Add(first, n)
		if s.charge != nil {
			s.refund(n * Size)
		}
		return false, nil
	case errors.Is(err, guard.ErrNoMemory):
		return true, s.discard(first, n, now)
	}
	s.clean.Remove(first, n) // the kernel may have taken some of it
	s.nDiscarded -= s.discarded.Count(first, n)
	s.discarded.Remove(first, n)
	return false, err
}

// discard gives the memory of free units back to the system in place. It skips units that are discarded already.
func (s *Space) discard(first, n int, now uint32) error {
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
		case s.markers:
			err = s.region.Guard(i*Size, run*Size) // a touch faults, as it would if they were decommitted
		case !s.clean.HasAll(i, run):
			err = s.region.Discard(i*Size, run*Size)
		}
		if err != nil {
			s.postpone(i, end-i, now)
			return err
		}
		s.clean.Add(i, run)
		s.discarded.Add(i, run)
		s.nDiscarded += run
		i += run
	}
	return nil
}

// mappingDelta returns how many mappings decommitting a run of committed units adds: one for each end beside a committed
// unit, and one less for each end beside a decommitted one.
func (s *Space) mappingDelta(first, n int) (mappings int) {
	for _, beside := range [2]int{first - 1, first + n} {
		if beside >= 0 && beside < s.top && !s.decommitted.Has(beside) {
			mappings++
		} else {
			mappings--
		}
	}
	return mappings
}

// Intercept has f called before each decommit, with the number of mappings that this adds: an error of f stands for the
// kernel's. It is for tests. Nobody else uses the space meanwhile.
func (s *Space) Intercept(f func(mappings int) error) { s.intercept = f }
