package slab

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// full returns a heap at its Limit, which has slabs of many classes or of one, and a function that asks
// it for one object more.
func full(tb testing.TB, c Config, local, many bool) (h *Heap, try func(int) ([]byte, error)) {
	c.Limit = 8 << 20
	h = open(tb, c)
	try = func(size int) ([]byte, error) { return h.TryAlloc(size, 8) }
	if local {
		l := h.Local()
		try = func(size int) ([]byte, error) { return l.TryAlloc(size, 8) }
	}
	for _, size := range sizesOfAllClasses() {
		if many && size > 200 && size < 20_000 {
			if _, err := try(size - 8); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for err := error(nil); err == nil; {
		_, err = try(3000)
	}
	return h, try
}

func BenchmarkRefused(b *testing.B) {
	for _, reserve := range []int{0, 1 << 30} {
		for _, hardened := range []bool{false, true} {
			for _, local := range []bool{false, true} {
				for name, size := range map[string]int{"small": 100, "same": 3000, "slab": 900_000, "large": 2 << 20} {
					for _, many := range []bool{false, true} {
						b.Run(fmt.Sprintf("reserve=%d,hardened=%v,local=%v,many=%v,%s", reserve>>20, hardened, local, many, name), func(b *testing.B) {
							_, try := full(b, Config{Reserve: reserve, Hardened: hardened}, local, many)
							for b.Loop() {
								try(size) // what other processors held is served first
							}
						})
					}
				}
			}
		}
	}
}

// TestOutsideRefusalIsCheap times refusals: each makes its error and nothing else, and asks nobody.
func TestOutsideRefusalIsCheap(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	// One processor, so that the refusals below find its cache empty: returning slots from it takes the locks of their depots.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, c := range []Config{{}, {Hardened: true}} {
		for _, local := range []bool{false, true} {
			h, try := full(t, c, local, true)
			for _, size := range []int{100, 3000, 900_000, 2 << 20} {
				for refused := 0; refused < 3; { // the first ones may find memory to collect
					if _, err := try(size); err != nil {
						refused++
					}
				}
				if n := testing.AllocsPerRun(100, func() { try(size) }); n > 2 {
					t.Errorf("hardened %v, local %v, %d bytes: a refusal makes %v allocations", c.Hardened, local, size, n)
				}
				// It looks at no depot but its own, and at no unit: others may have all of them.
				own := sizeclass.Of(uint(size))
				if c.Hardened {
					own, _ = hardenedClass(size, sizeclass.Granule)
				}
				for i := range h.depots {
					if uint8(i) != own || size > sizeclass.Largest {
						h.depots[i].mu.Lock()
					}
				}
				h.space.Hold(func() { ends(t, "a refusal", func() { try(size) }) })
				for i := range h.depots {
					if uint8(i) != own || size > sizeclass.Largest {
						h.depots[i].mu.Unlock()
					}
				}
				if race.Enabled {
					continue
				}
				best := time.Hour
				for range 10 {
					const n = 300
					from := time.Now()
					for range n {
						try(size)
					}
					best = min(best, time.Since(from)/n)
				}
				if best > 3*time.Microsecond { // it is some 150 ns, and was 27 µs
					t.Errorf("hardened %v, local %v, %d bytes: a refusal takes %v", c.Hardened, local, size, best)
				}
			}
		}
	}
}

// TestOutsideLimitCollects frees what fills the Limit, so that all of it is in a depot, or in a Local: a
// request for another size finds it, though the time to look at processors has not come.
func TestOutsideLimitCollects(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	for name, slabs := range map[string]int{"depot": 3, "Local": 1} {
		h := open(t, Config{Limit: slabs * unit})
		try, free := h.TryAlloc, h.Free
		if name == "Local" {
			l := h.Local()
			try, free = l.TryAlloc, l.Free
		}
		var all [][]byte
		for refused := 0; refused < 3; {
			if b, err := try(3000, 8); err == nil {
				all = append(all, b)
			} else {
				refused++
			}
		}
		if h.returned.Load() != returnedNone {
			t.Errorf("%s: slots that returned to their slabs were not collected", name)
		}
		slices.SortFunc(all, func(a, b []byte) int { return cmp.Compare(address(a), address(b)) })
		for _, b := range all {
			free(b)
		}
		if _, err := try(640, 8); err != nil {
			t.Errorf("%s: all %d objects are free: %v", name, len(all), err)
		}
	}
}

// TestOutsideRefusalHasFigures checks the error.
func TestOutsideRefusalHasFigures(t *testing.T) {
	for _, local := range []bool{false, true} {
		_, try := full(t, Config{Name: "few"}, local, false)
		for _, size := range []int{100, 2 << 20} {
			_, err := try(size)
			if !errors.Is(err, guard.ErrNoMemory) || !strings.HasPrefix(err.Error(), `slab: "few": `) ||
				!strings.Contains(err.Error(), "exceed its Limit of 8388608: no memory") {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestOutsideLimitServesWhatIsFree fills a heap to its Limit and frees some of it: what an empty slab or a
// large object took can be had for other sizes, at once through a Local, and through a heap when it is
// time to take it from the processors.
func TestOutsideLimitServesWhatIsFree(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	sizes := []int{100, 640, 3000, 20_000, 60_000, 300_000, 1 << 20, 2 << 20}
	for _, c := range []Config{{}, {Hardened: true}} {
		for _, local := range []bool{false, true} {
			if local && c.Hardened {
				continue // it keeps nothing
			}
			t.Run(fmt.Sprintf("hardened=%v,local=%v", c.Hardened, local), func(t *testing.T) {
				const limit = 8 << 20
				c.Limit = limit
				h := open(t, c)
				try, free := h.TryAlloc, h.Free
				if local {
					l := h.Local()
					try, free = l.TryAlloc, l.Free
				}
				random := rand.New(rand.NewPCG(1, 2))
				for round := range 60 {
					size := sizes[random.IntN(len(sizes))]
					var all [][]byte
					refused := 0
					for refused < 1+random.IntN(3) {
						b, err := try(size, 8)
						if err != nil {
							refused++
							continue
						}
						all = append(all, b)
					}
					if s := h.Stats(); s.Live < limit-limit/8-3<<20 {
						t.Fatalf("round %d: objects of %d bytes, the Limit is %d: %+v", round, size, limit, s)
					}
					random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
					for _, b := range all {
						free(b)
					}
					if !local {
						now += decay.Beat
					}
				}
			})
		}
	}
}

// TestOutsideLimitSharedByGoroutines has several goroutines allocate and free at the Limit, each some of
// what there is: none is refused what all others have given back for good.
func TestOutsideLimitSharedByGoroutines(t *testing.T) {
	h := open(t, Config{Limit: 8 << 20})
	failed := make(chan error, 4)
	for g := range 4 {
		go func() {
			l := h.Local()
			for round := range 100 {
				size := []int{100, 1000, 5000, 60_000}[(round+g)%4]
				var all [][]byte
				for held := 0; held < 1<<20; held += size {
					b, err := l.TryAlloc(size, 8)
					if err != nil {
						failed <- fmt.Errorf("goroutine %d, round %d: %w", g, round, err)
						return
					}
					all = append(all, b)
				}
				for _, b := range all {
					l.Free(b)
				}
			}
			failed <- l.Close()
		}()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// TestOutsideHighWaterOfRefused asks for more than the budget has: a refused request is no high-water mark.
func TestOutsideHighWaterOfRefused(t *testing.T) {
	h := open(t, Config{})
	setBudget(t, guard.Budget{Hard: guard.Committed() + 1<<20})
	if _, err := h.TryAlloc(64<<20, 8); err == nil {
		t.Fatal("the budget does not hold")
	}
	if got := h.Stats().HighWater; got != 0 {
		t.Errorf("HighWater is %d", got)
	}
	h.Free(h.Alloc(100, 8))
	if got := h.Stats().HighWater; got != unit {
		t.Errorf("HighWater is %d, want %d", got, unit)
	}
}

// TestEvictUntilItFits frees objects, the oldest first, until one of another size fits, while no time passes: slots that
// the goroutine itself has freed do not keep their slabs.
func TestEvictUntilItFits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{Limit: 17 * unit})
	sizes := sizesOfAllClasses()[:51] // three sizes of each of 17 classes
	for round := range 5 {
		var live [][]byte
		for _, size := range sizes { // three objects in each slab
			if b, err := h.TryAlloc(size, 8); err == nil {
				live = append(live, b)
			}
		}
		for {
			b, err := h.TryAlloc(300_000, 8)
			if err == nil {
				h.Free(b)
				break
			}
			if len(live) == 0 {
				t.Fatalf("round %d: nothing is live, and 300,000 bytes do not fit: %v", round, err)
			}
			h.Free(live[0])
			live = live[1:]
		}
		h.FreeN(live)
	}
}
