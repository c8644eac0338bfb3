package units

import (
	"fmt"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// fewMappings has no decommit succeed that takes mappings, as if the process had none left, until it is lifted. It
// counts the decommits.
func (s *fixture) fewMappings() (calls *int, lift func()) {
	calls, refused := new(int), true
	s.Intercept(func(mappings int) error {
		*calls++
		if refused && mappings > 0 {
			return fmt.Errorf("vm.max_map_count: %w", guard.ErrNoMemory)
		}
		return nil
	})
	return calls, func() { refused = false }
}

// everySecond takes n slabs of one unit, and gives every second one back.
func (s *fixture) everySecond(n int) {
	s.t.Helper()
	for range n {
		s.take(1)
	}
	slab := 1 + s.guards
	for i := 0; i < n; i += 2 {
		s.give(i * slab)
	}
}

// TestOutsideDiscarded purges a space every second slab of which was given back, when there are no mappings: the memory
// goes back all the same, at once, and the addresses when that is possible.
func TestOutsideDiscarded(t *testing.T) {
	each(t, 1000, func(t *testing.T, s *fixture) {
		const n = 300
		calls, lift := s.fewMappings()
		s.everySecond(n)
		for round := range 3 {
			s.purge(0)
			s.check()
			most := int64(n / 2 * Size)
			if s.markers {
				most *= 2 // the guards, too
			}
			if got := s.DiscardedBytes(); !s.markers && s.guards > 0 {
				if got != 0 {
					t.Fatalf("round %d: %d bytes are discarded, and decommitting takes no mapping between guards", round, got)
				}
			} else if got < most-2*Size || got > most {
				t.Fatalf("round %d: %d bytes are discarded, want %d", round, got, most)
			}
			// The second time there is nothing to ask the kernel for.
			*calls = 0
			stop := vm.Inject(vm.Madvise, 0, nil)
			s.purge(0)
			if made := stop(); made > 0 || *calls > 1 {
				t.Errorf("round %d: %d calls of madvise and %d decommits for what is discarded", round, made, *calls)
			}
			// It is used again, before other memory, and reads zero.
			committed := s.region.Committed()
			var again []int
			for range n / 4 {
				first, clean := s.take(1)
				if !clean {
					t.Errorf("round %d: unit %d is not clean", round, first)
				}
				again = append(again, first)
			}
			if got := s.region.Committed(); got > committed && (s.markers || s.guards == 0) {
				t.Errorf("round %d: %d bytes were committed, and there were discarded ones", round, got-committed)
			}
			s.check()
			for _, first := range again {
				s.give(first)
			}
		}
		s.purge(0)
		if s.markers {
			for u := range s.top {
				if s.free.Has(u) && !s.faults(u, Size/2) {
					t.Fatalf("unit %d is discarded, and can be touched", u)
				}
			}
		}
		lift()
		s.purge(0)
		s.check()
		if got := s.DiscardedBytes(); got != 0 {
			t.Errorf("when there are mappings: %d bytes are discarded", got)
		}
		s.empty()
	})
}

// TestOutsideDiscardedGrowTogether gives back what lies between discarded units: the run as a whole can be decommitted
// without a mapping more.
func TestOutsideDiscardedGrowTogether(t *testing.T) {
	each(t, 1000, func(t *testing.T, s *fixture) {
		s.fewMappings()
		s.everySecond(200)
		s.purge(0)
		if s.DiscardedBytes() == 0 && s.guards == 0 {
			t.Fatal("nothing is discarded: the test is wrong")
		}
		s.empty()
	})
}

// TestOutsideDiscardedStay purges by age: few calls are made for what is discarded.
func TestOutsideDiscardedStay(t *testing.T) {
	s := open(t, 500, "plain")
	calls, lift := s.fewMappings()
	s.everySecond(400)
	s.now += 500
	s.purge(500)
	if got := s.DiscardedBytes(); got < 199*Size {
		t.Fatalf("%d bytes are discarded", got)
	}
	*calls = 0
	for range 10 {
		s.now += 100
		s.purge(500)
	}
	if *calls > 10 {
		t.Errorf("%d decommits in 10 passes", *calls)
	}
	lift()
	s.purge(500)
	if got := s.DiscardedBytes(); got != 0 {
		t.Errorf("when there are mappings: %d bytes are discarded", got)
	}
	s.empty()
}

// TestOutsideRefusedOnce refuses decommits whatever they take, as the kernel may.
func TestOutsideRefusedOnce(t *testing.T) {
	each(t, 200, func(t *testing.T, s *fixture) {
		refusals := 2
		s.Intercept(func(int) error {
			if refusals--; refusals >= 0 {
				return guard.ErrNoMemory
			}
			return nil
		})
		for range 3 {
			for range 20 {
				s.take(1)
			}
			for first := range s.slabs {
				s.give(first)
			}
			s.purge(0)
			s.check()
		}
		s.empty()
	})
}

// TestMappingDelta compares the answer with the mappings that the region has afterwards.
func TestMappingDelta(t *testing.T) {
	s := open(t, 16, "plain")
	for range 8 {
		s.take(1)
	}
	s.give(7)
	s.purge(0) // with what was committed ahead
	last := mappingsOf(t, s.region)
	for _, step := range []struct{ u, delta int }{{0, 0}, {6, 0}, {3, 2}, {4, 0}, {1, 0}, {2, -2}, {5, -2}} {
		s.give(step.u)
		if got := s.mappingDelta(step.u, 1); got != step.delta {
			t.Errorf("unit %d: %d, want %d", step.u, got, step.delta)
		}
		s.purge(0)
		now := mappingsOf(t, s.region)
		if 2*(now-last) != step.delta { // those that may be read; as many others come between them
			t.Errorf("unit %d: %d mappings, %d were", step.u, now, last)
		}
		last = now
	}
	s.empty()
}
