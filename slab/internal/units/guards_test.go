package units

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// mappingsOf returns how many mappings a region consists of that may be read.
func mappingsOf(t *testing.T, r *region.Region) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("the system does not tell its mappings")
	}
	base := uintptr(r.Base())
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if from < base+uintptr(r.Size()) && to > base && mode[0] == 'r' {
			n++
		}
	}
	return n
}

// TestGuardsFault touches what is behind slabs, and what was given back.
func TestGuardsFault(t *testing.T) {
	each(t, 200, func(t *testing.T, s *fixture) {
		if s.guards == 0 {
			t.Skip("no guards")
		}
		for _, sizes := range [][]int{{1, 1, 1, 1, 1, 1}, {2, 5, 2}, {11}, {1, 2, 3}} { // slabs where guards were, and guards where slabs were
			var firsts []int
			for _, n := range sizes {
				first, _ := s.take(n)
				firsts = append(firsts, first)
			}
			for i, first := range firsts {
				for _, at := range []int{0, Size / 2, Size - 1} {
					if !s.faults(first+sizes[i], at) {
						t.Fatalf("slabs %v: byte %d behind slab %d can be touched", sizes, at, i)
					}
				}
			}
			s.check()
			for i, first := range firsts {
				s.give(first)
				for u := first; u < first+sizes[i]; u++ {
					if !s.faults(u, Size/2) {
						t.Fatalf("slabs %v: unit %d of slab %d can be touched after Give", sizes, u-first, i)
					}
				}
			}
			s.check()
		}
		s.empty()
	})
}

// TestGuardsTakeOneMapping makes slabs with guards that are markers.
func TestGuardsTakeOneMapping(t *testing.T) {
	s := open(t, 500, "markers")
	for round := range 2 {
		for range 200 {
			s.take(1)
		}
		if n := mappingsOf(t, s.region); n != 1 {
			t.Errorf("round %d: 200 slabs are in %d mappings", round, n)
		}
		s.empty()
	}
}
