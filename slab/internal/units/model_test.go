package units

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestModel takes, gives and purges at random, now and then without mappings or memory, and checks everything after
// each step.
func TestModel(t *testing.T) {
	steps := 3000
	if testing.Short() {
		steps = 600
	}
	each(t, 64, func(t *testing.T, s *fixture) {
		random := rand.New(rand.NewPCG(1, 2))
		refuse := false
		s.Intercept(func(mappings int) error {
			if refuse && mappings > 0 {
				return guard.ErrNoMemory
			}
			return nil
		})
		full := 0
		for range steps {
			switch firsts := slices.Sorted(maps.Keys(s.slabs)); random.IntN(6) {
			case 0, 1:
				if _, _, err := s.tryTake(1 + random.IntN(5)); err != nil {
					full++
				}
			case 2, 3:
				if len(firsts) > 0 {
					s.give(firsts[random.IntN(len(firsts))])
				}
			case 4:
				refuse = random.IntN(2) == 0
				s.purge(uint32(random.IntN(3)) * 10)
			case 5:
				if s.now += uint32(random.IntN(10)); len(firsts) > 0 && s.guards > 0 {
					first := firsts[random.IntN(len(firsts))]
					if g := first + s.slabs[first]; !s.faults(g, random.IntN(Size)) {
						t.Fatalf("unit %d is a guard, and can be touched", g)
					}
				}
			}
			s.check()
		}
		if full == 0 {
			t.Error("the space was never full")
		}
		refuse = false
		s.empty()
	})
}

// TestHammerSpace has goroutines take, give and purge.
func TestHammerSpace(t *testing.T) {
	rounds := 500
	if testing.Short() {
		rounds = 100
	}
	each(t, 200, func(t *testing.T, s *fixture) {
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(g)))
				for i := range rounds {
					n := 1 + random.IntN(4)
					first, clean, err := s.Take(n, uint32(i))
					if err != nil {
						t.Error(err)
						return
					}
					b := s.bytes(first, n)
					for at := 0; at < len(b); at += 4096 {
						if clean && b[at] != 0 {
							t.Errorf("byte %d is %d, and the units are clean", at, b[at])
						}
						b[at] = byte(g)
					}
					if i%10 == 0 {
						if err := s.Purge(uint32(random.IntN(2)*100), uint32(i)); err != nil {
							t.Error(err)
						}
					}
					for at := 0; at < len(b); at += 4096 {
						if b[at] != byte(g) {
							t.Errorf("byte %d is %d, another goroutine has the unit", at, b[at])
						}
					}
					s.Give(first, n, uint32(i))
				}
			})
		}
		all.Wait()
		s.check()
		s.empty()
	})
}
