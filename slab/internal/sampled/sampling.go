package sampled

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// MaxPass is how many allocations pass at most between two draws, so that an allocator notices
	// before long when the rate is changed.
	MaxPass = 4096

	// MaxSlots bounds Sampling.Slots.
	MaxSlots = 1 << 16

	defaultSlots = 256
)

// Sampling says which allocations are sampled. slab.Sampling has the same fields, and documents them.
type Sampling struct {
	Every int
	Slots int
	Seed  int64
}

var (
	every atomic.Int64  // one allocation in so many is sampled; 0: none
	state atomic.Uint64 // of the generator of random numbers

	setting struct {
		mu    sync.Mutex
		slots int
		fixed bool // the slots are there
		seed  int64
	}
)

func init() {
	setting.slots = defaultSlots
	state.Store(rand.Uint64())
}

// Set replaces the sampling, or returns an error and changes nothing.
func Set(s Sampling) (old Sampling, err error) {
	setting.mu.Lock()
	defer setting.mu.Unlock()
	old = current()
	switch {
	case s.Every < 0:
		return old, fmt.Errorf("slab: sampling: Every %d must not be negative", s.Every)
	case s.Slots < 0 || s.Slots > MaxSlots:
		return old, fmt.Errorf("slab: sampling: %d slots cannot be: 1 to %d can, 0 leaves them as they are", s.Slots, MaxSlots)
	case s.Slots != 0 && s.Slots != setting.slots && setting.fixed:
		return old, fmt.Errorf("slab: sampling: %d slots cannot be: something was sampled already, in %d", s.Slots, setting.slots)
	}
	if s.Slots != 0 {
		setting.slots = s.Slots
	}
	if s.Seed != 0 {
		setting.seed = s.Seed
		state.Store(uint64(s.Seed))
	}
	every.Store(int64(s.Every))
	return old, nil
}

// Current returns the sampling in force.
func Current() Sampling {
	setting.mu.Lock()
	defer setting.mu.Unlock()
	return current()
}

// current is Current. Caller holds setting.mu.
func current() Sampling {
	return Sampling{Every: int(every.Load()), Slots: setting.slots, Seed: setting.seed}
}

// Slots returns the number of slots. It stays the same from now on.
func Slots() int {
	setting.mu.Lock()
	defer setting.mu.Unlock()
	setting.fixed = true
	return setting.slots
}

// Draw returns how many allocations pass unsampled, and whether the next one is sampled; if not, the allocator
// calls Draw again. It takes no lock and does not block.
//
// Each allocation is sampled with the same probability, whatever was before. So the number that pass has a
// geometric distribution; above MaxPass it may be cut off and drawn anew.
func Draw() (pass uint32, sample bool) {
	n := every.Load()
	if n == 0 {
		return MaxPass, false
	}
	if n == 1 {
		return 0, true
	}
	u := (float64(random()>>11) + 1) / (1 << 53) // in (0, 1]
	k := math.Log(u) / math.Log1p(-1/float64(n))
	if k >= MaxPass {
		return MaxPass, false
	}
	return uint32(k), true
}

// coin returns true or false with the same probability.
func coin() bool { return random()>>63 != 0 }

// random is SplitMix64 (Steele, Lea, Flood 2014), whose state is a counter: so many can draw at once.
func random() uint64 {
	x := state.Add(0x9E3779B97F4A7C15)
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
