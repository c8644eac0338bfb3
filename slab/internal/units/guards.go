package units

import "github.com/seed-9a6c551e/offheap/slab/internal/bitmap"

// In the space of a hardened heap the unit behind each slab is its guard: a touch of it faults. So does a touch of any
// unit that is in no slab, so Give decommits or discards the units of a slab at once.
//
//	┌──────────┬───────┬─────────────────┬───────┬─ ─ ─ ─ ─ ─
//	│   slab   │ guard │      slab       │ guard │ decommitted
//	└──────────┴───────┴─────────────────┴───────┴─ ─ ─ ─ ─ ─
//
// Where guards are kernel markers (guard.LightGuards), a slab is committed together with its guard: all slabs that are
// neighbours are then in one mapping. The guard is charged, becomes free with its slab, and discarded units have
// markers too. Elsewhere the guard is not committed, and takes two mappings.

// takeGuarded is Take where there are guards: it leaves one behind the units. All of them read zero.
func (s *Space) takeGuarded(n int) (first int, clean bool, err error) {
	all := s.decommitted.Len()
	switch {
	case !s.markers || s.nDiscarded == 0: // where guards are not committed, only decommitted units can become guards
		first = s.decommitted.Find(s.hint, all, n+s.guards)
	default:
		first = s.discarded.Find(s.hint, s.top, n+s.guards) // which are charged already
		if first < 0 {
			first = bitmap.FindEither(s.decommitted, s.discarded, s.hint, all, n+s.guards)
		}
	}
	if first < 0 {
		return 0, false, s.full(n + s.guards)
	}
	if err = s.commitGuarded(first, n); err != nil {
		return 0, false, err
	}
	s.removeFree(first, n+s.guards)
	s.decommitted.Remove(first, n+s.guards)
	s.top = max(s.top, first+n+s.guards)
	if first == s.hint {
		s.hint += n + s.guards
	}
	s.nTaken += n
	return first, true, nil
}

// withGuard returns how many units are committed for a slab of n units.
func (s *Space) withGuard(n int) int {
	if s.markers {
		return n + s.guards
	}
	return n
}

// commitGuarded makes n units accessible and, if guards are markers, the one behind a guard.
func (s *Space) commitGuarded(first, n int) error {
	err := s.region.Commit(first*Size, s.withGuard(n)*Size)
	if err == nil {
		err = s.region.Unguard(first*Size, n*Size) // the units may have been guards, or discarded, or guarded by the slab
	}
	if err == nil && s.markers {
		err = s.region.Guard((first+n)*Size, s.guards*Size)
	}
	if err != nil {
		s.uncommitGuarded(first, s.withGuard(n))
	}
	return err
}

// uncommitGuarded undoes commitGuarded: the units are decommitted or discarded, as they were before.
func (s *Space) uncommitGuarded(first, n int) {
	for i, end := first, first+n; i < end; {
		decommitted, run := s.decommitted.Has(i), 1
		for i+run < end && s.decommitted.Has(i+run) == decommitted {
			run++
		}
		if decommitted {
			_ = s.region.Decommit(i*Size, run*Size) // or it is committed already the next time
		} else {
			_ = s.region.Guard(i*Size, run*Size)
		}
		i += run
	}
}

// giveGuarded is Give where there are guards: it makes the units and their guard inaccessible.
func (s *Space) giveGuarded(first, n int, now uint32) {
	if !s.markers {
		s.decommitted.Add(first+n, s.guards)
	}
	n = s.withGuard(n)
	s.addFree(first, n, now)
	s.giveBack(&pass{now: now}, first, n) // what the kernel does not take now stays free
}
