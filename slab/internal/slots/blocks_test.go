package slots

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// TestStatesForEverySlab fills a small table with slabs of one class after another, and then replaces slabs by ones of
// any class: as long as there is a unit for a slab, there are states.
func TestStatesForEverySlab(t *testing.T) {
	const units = 32
	for _, hardened := range []bool{false, true} {
		f := open(t, Config{Units: units, Hardened: hardened, Class: NoClass})
		var classes []uint8
		for c := range uint8(sizeclass.Number) {
			if sizeclass.Table[c].Units == 1 {
				classes = append(classes, c)
			}
		}
		for _, c := range classes {
			for u := range units {
				f.add(t, c, u)
			}
			if c != classes[len(classes)-1] {
				for u := range units {
					f.Remove(uint32(u))
				}
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			u := r.IntN(units)
			f.Remove(uint32(u))
			f.add(t, classes[r.IntN(len(classes))], u)
			owner := map[uint32]int{}
			for v := range units {
				e := *f.entry(uintptr(v))
				for i := range uint32(blockSize(&sizeclass.Table[e.Class()])) / 64 {
					at := e.states(uint32(v)) + i*64
					if w, twice := owner[at]; twice || at < firstStates {
						t.Fatalf("states from %d on are of units %d and %d", at, v, w)
					}
					owner[at] = v
				}
			}
		}
	}
}
