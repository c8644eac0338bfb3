package units

import (
	"math"
	"testing"
)

// TestPurgeByAge gives units back at several times.
func TestPurgeByAge(t *testing.T) {
	for _, start := range []uint32{0, 5000, math.MaxUint32 - 150} { // the clock wraps
		s := open(t, 100, "plain")
		s.now = start
		for range 20 {
			s.take(1)
		}
		s.purge(0)
		for i := range 4 {
			s.now = start + uint32(i)*100
			s.give(i * 5)
		}
		for i, want := range []int{20, 19, 18, 17, 16, 16} {
			s.now = start + 500 + uint32(i)*100 - 1
			s.purge(500)
			s.check()
			if got := int(s.region.Committed() / Size); got != want {
				t.Errorf("clock from %d, after %d ticks: %d units are committed, want %d", start, s.now-start, got, want)
			}
		}
		s.empty()
	}
}

// TestPurgeReadsClockFirst gives units back after a purge has looked at the clock, before it gets the lock.
func TestPurgeReadsClockFirst(t *testing.T) {
	s := open(t, 10, "plain")
	first, _ := s.take(1)
	s.purge(0)
	early := s.now
	s.now += 3
	s.give(first)
	if err := s.Purge(500, early); err != nil || s.region.Committed() != Size {
		t.Errorf("%v; %d bytes are committed", err, s.region.Committed())
	}
	if err := s.Purge(0, early); err != nil || s.region.Committed() != 0 {
		t.Errorf("all free units: %v; %d bytes are committed", err, s.region.Committed())
	}
	s.empty()
}

// TestPurgedIsClean takes units again that were purged.
func TestPurgedIsClean(t *testing.T) {
	each(t, 10, func(t *testing.T, s *fixture) {
		for range 3 {
			first, clean := s.take(3)
			if first != 0 || !clean {
				t.Errorf("unit %d, clean: %v", first, clean)
			}
			s.give(first)
			s.purge(0)
			s.check()
		}
		s.take(3)
		s.give(0)
		if _, clean := s.take(3); clean != (s.guards > 0) {
			t.Errorf("units that were not purged are clean: %v", clean)
		}
		s.empty()
	})
}
