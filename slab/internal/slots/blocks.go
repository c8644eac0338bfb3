package slots

import (
	"math/bits"
	"slices"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

const (
	areaSize  = unit / sizeclass.Granule // states of a slab of the smallest slots: no slab has more
	leastSize = 64                       // states: a CPU cache line
)

// blocks has the blocks of states that are in no slab. A block has a power of two of states, and starts at a multiple
// of that. A block that is too large is halved; halves are joined when nothing else is left. So a slab keeps
// at most one area from being whole, and where there are as many areas as units, every slab finds its states, whatever
// slabs were there before.
type blocks struct {
	spares [7][]uint32 // by size: element i has the starts of blocks of leastSize<<i states
}

func blockIndex(size int) int { return bits.Len(uint(size/leastSize)) - 1 }

// take takes a block out. ok is false if there is none of this size or larger.
func (b *blocks) take(size int) (states uint32, ok bool) {
	want := blockIndex(size)
	for i := want; i < len(b.spares); i++ {
		n := len(b.spares[i])
		if n == 0 {
			continue
		}
		states = b.spares[i][n-1]
		b.spares[i] = b.spares[i][:n-1]
		for i > want {
			i--
			b.spares[i] = append(b.spares[i], states+leastSize<<i)
		}
		return states, true
	}
	return 0, false
}

// give puts a block in.
func (b *blocks) give(states uint32, size int) {
	i := blockIndex(size)
	b.spares[i] = append(b.spares[i], states)
}

// join joins the halves of blocks that are both here.
func (b *blocks) join() {
	for i := range len(b.spares) - 1 {
		size := uint32(leastSize << i)
		all := b.spares[i]
		slices.Sort(all)
		apart := all[:0]
		for n := 0; n < len(all); n++ {
			if at := all[n]; at&size == 0 && n+1 < len(all) && all[n+1] == at+size {
				b.spares[i+1] = append(b.spares[i+1], at)
				n++
			} else {
				apart = append(apart, at)
			}
		}
		b.spares[i] = apart
	}
}
