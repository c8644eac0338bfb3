package units

import "github.com/seed-9a6c551e/offheap/internal/invariant"

// checked checks the sets in builds with -tags invariants: small ones after every change, large ones now and then.
// Caller holds s.mu.
func (s *Space) checked() {
	if !invariant.Enabled {
		return
	}
	if s.changes++; s.top < 256 || s.changes%1024 == 0 {
		s.checkSets()
	}
}

// checkSets panics where the sets contradict each other below the top. Caller holds s.mu.
func (s *Space) checkSets() {
	free, discarded, rest := 0, 0, 0
	for u := range s.top {
		f, d := s.free.Has(u), s.decommitted.Has(u)
		switch {
		case f && d:
			invariant.Holds("slab", false, "unit %d is free or decommitted, not both", u)
		case (f || d) && u < s.hint:
			invariant.Holds("slab", false, "unit %d is free or decommitted, the hint is %d", u, s.hint)
		case s.clean.Has(u) && !f:
			invariant.Holds("slab", false, "unit %d is clean, so it is free", u)
		case s.discarded.Has(u) && !s.clean.Has(u):
			invariant.Holds("slab", false, "unit %d is discarded, so it is clean", u)
		case f:
			free++
		case !d:
			rest++
		}
		if s.discarded.Has(u) {
			discarded++
		}
	}
	invariant.Holds("slab", free == s.nFree && discarded == s.nDiscarded, "%d units are free and %d discarded, the space says %d and %d", free, discarded, s.nFree, s.nDiscarded)
	invariant.Holds("slab", rest >= s.nTaken && rest <= s.nTaken*(1+s.guards), "%d units are taken, and %d are neither free nor decommitted", s.nTaken, rest)
}

// Check panics where an invariant of the space does not hold. taken tells whether a unit is in a slab, as its caller
// knows. Nobody else uses the space meanwhile.
func (s *Space) Check(taken func(u int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkSets()
	invariant.Holds("slab", s.decommitted.HasAll(s.top, s.decommitted.Len()-s.top), "all units from %d on are decommitted", s.top)
	inSlabs, committed, behindSlab := 0, 0, false
	for u := range s.free.Len() {
		isTaken, idle := taken(u), s.free.Has(u) || s.decommitted.Has(u)
		switch {
		case isTaken && idle:
			invariant.Holds("slab", false, "unit %d is taken, so it is neither free nor decommitted", u)
		case isTaken:
			inSlabs++
			committed++
		case idle:
			if s.free.Has(u) {
				committed++
			}
		default:
			invariant.Holds("slab", s.guards > 0 && behindSlab, "unit %d is a guard, so there is a slab before", u)
			if s.markers {
				committed++
			}
		}
		behindSlab = isTaken
	}
	invariant.Holds("slab", inSlabs == s.nTaken, "%d units are in slabs, the space says %d", inSlabs, s.nTaken)
	invariant.Holds("slab", int64(committed)*Size == s.region.Committed(), "%d units are committed, the region has %d bytes", committed, s.region.Committed())
}

// Hold runs f while the space is locked. It is for tests of calls that must not wait for the space.
func (s *Space) Hold(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}
