// Package sampling decides which allocations are sampled: package guard sets the rate, allocators
// draw from it.
package sampling

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

const (
	// Most is how many allocations pass at most between two draws, so that an allocator notices
	// before long when the rate is changed.
	Most = 4096

	// MostSlots bounds what SetSlots takes.
	MostSlots = 1 << 16
)

var (
	every atomic.Int64 // 0 samples nothing
	slots atomic.Int64 // negative once they were asked for
	state atomic.Uint64
)

func init() {
	slots.Store(256)
	state.Store(rand.Uint64())
}

// Set makes one allocation in n sampled, in the mean; 0 none; a negative n changes nothing. It
// returns what was set before.
func Set(n int) (old int) {
	if n < 0 {
		return int(every.Load())
	}
	return int(every.Swap(int64(n)))
}

// SetSlots sets the number of slots; false if they were asked for already.
func SetSlots(n int) bool {
	for {
		old := slots.Load()
		if old < 0 {
			return false
		}
		if slots.CompareAndSwap(old, int64(n)) {
			return true
		}
	}
}

// Slots returns the number of slots, which stays.
func Slots() int {
	for {
		n := slots.Load()
		if n < 0 {
			return int(-n)
		}
		if slots.CompareAndSwap(n, -n) {
			return int(n)
		}
	}
}

// Seed makes what is drawn from here on the same each time.
func Seed(seed uint64) { state.Store(seed) }

// Draw returns how many allocations are to pass, and whether the one that follows is to be sampled:
// if not, Draw is to be called again instead. It takes no lock and does not block.
//
// Each allocation is sampled with the same probability whatever was before, so the number that pass
// has a geometric distribution; where it is above Most it may be cut off and drawn anew.
func Draw() (pass uint32, sample bool) {
	n := every.Load()
	if n == 0 {
		return Most, false
	}
	if n == 1 {
		return 0, true
	}
	u := (float64(random()>>11) + 1) / (1 << 53) // in (0, 1]
	k := math.Log(u) / math.Log1p(-1/float64(n))
	if k >= Most {
		return Most, false
	}
	return uint32(k), true
}

// Bit is a coin.
func Bit() bool { return random()>>63 != 0 }

// random is SplitMix64 (Steele, Lea, Flood 2014), whose state is a counter: so many can draw at once.
func random() uint64 {
	x := state.Add(0x9E3779B97F4A7C15)
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
