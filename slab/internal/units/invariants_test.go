package units

import (
	"fmt"
	"strings"
	"testing"
)

// TestCheckNotices breaks one thing at a time: Check panics.
func TestCheckNotices(t *testing.T) {
	for what, breaks := range map[string]func(s *fixture){
		"counts free":         func(s *fixture) { s.nFree++ },
		"counts discarded":    func(s *fixture) { s.nDiscarded++ },
		"counts taken":        func(s *fixture) { s.nTaken-- },
		"free, decommitted":   func(s *fixture) { s.decommitted.Add(2, 1) },
		"free, taken":         func(s *fixture) { s.free.Add(0, 1); s.nFree++; s.hint = 0 },
		"clean, taken":        func(s *fixture) { s.clean.Add(0, 1) },
		"discarded, dirty":    func(s *fixture) { s.discarded.Add(2, 1); s.nDiscarded++ },
		"hint":                func(s *fixture) { s.hint = 3 },
		"hint, decommitted":   func(s *fixture) { s.hint = 3; s.free.Remove(2, 1); s.nFree--; s.decommitted.Add(2, 1) },
		"top":                 func(s *fixture) { s.top-- },
		"a slab more":         func(s *fixture) { s.slabs[2] = 1 },
		"a slab less":         func(s *fixture) { delete(s.slabs, 0) },
		"a guard, no slab":    func(s *fixture) { s.free.Remove(2, 1); s.nFree-- },
		"committed, not free": func(s *fixture) { s.decommitted.Add(2, 1); s.free.Remove(2, 1); s.nFree-- },
	} {
		t.Run(what, func(t *testing.T) {
			s := open(t, 10, "plain")
			for range 4 {
				s.take(1)
			}
			s.give(2)
			s.check()
			breaks(s)
			defer func() {
				if said := fmt.Sprint(recover()); !strings.HasPrefix(said, "slab: invariant broken: ") {
					t.Errorf("Check does not notice: %s", said)
				}
			}()
			s.check()
		})
	}
}
