package units

import "github.com/seed-9a6c551e/offheap/slab/internal/bitmap"

// Purge gives the memory of the units back that have been free for age ticks, of all free units if age is 0. It returns
// the first error of the kernel: what that did not take stays free, and its time starts again.
//
// It takes time for units that have become free since the last Purge, and not for those that are discarded: of these it
// tries one run, and goes on if that can be decommitted by now.
func (s *Space) Purge(age, now uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.checked()
	return s.purge(age, now)
}

// purge is Purge. Caller holds s.mu.
func (s *Space) purge(age, now uint32) error {
	if s.nFree == 0 {
		return nil
	}
	p := pass{now: now, age: age}
	for i := s.hint; s.nFree > s.nDiscarded; {
		if i = bitmap.FindOnly(s.free, s.discarded, i, s.top); i < 0 {
			break
		}
		n := 0
		for s.due(&p, i+n) {
			n++
		}
		if n > 0 {
			s.giveBack(&p, i, n)
		}
		i += max(n, 1)
	}
	for i := s.hint; s.nDiscarded > 0 && !p.refused; {
		if i = s.discarded.Find(i, s.top, 1); i < 0 {
			break
		}
		s.giveBack(&p, i, 1)
		for i < s.top && s.discarded.Has(i) {
			i++
		}
		i++
	}
	return p.err
}

// pass is one pass over free units.
type pass struct {
	now, age uint32
	refused  bool  // there were no mappings for a run
	err      error // the first
}

// due tells whether a unit is discarded, or has been free for long enough.
func (s *Space) due(p *pass, u int) bool {
	return u < s.top && s.free.Has(u) && (s.discarded.Has(u) || s.freeFor(u, p.now) >= p.age)
}

// freeFor returns for how many ticks a unit has been free.
func (s *Space) freeFor(u int, now uint32) uint32 {
	ticks := now - s.freedAt[u]
	if ticks > 1<<31 { // it became free after the caller had looked at the clock
		return 0
	}
	return ticks
}
