package slab

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// TestHammerHeap lets goroutines allocate, verify and free, hand objects to one another, and some of
// them purge, look at the figures, and change GOMAXPROCS meanwhile.
func TestHammerHeap(t *testing.T) { hammer(t, Config{}, 30000) }

func TestHammerHardened(t *testing.T) { hammer(t, Config{Hardened: true}, 10000) }

func hammer(t *testing.T, c Config, n int) {
	h := open(t, c)
	const workers = 6
	var mail [workers]chan held
	for i := range mail {
		mail[i] = make(chan held, 100)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for g := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			l := h.Local()
			defer func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}()
			free := func(o held) {
				if err := o.verify(); err != nil {
					t.Error(err)
				}
				if r.IntN(2) == 0 {
					h.Free(o.b)
				} else {
					l.Free(o.b)
				}
			}
			var live []held
			for range rounds(n) {
				switch r.IntN(5) {
				case 0, 1:
					n := r.IntN(1 << r.IntN(13))
					var b []byte
					if r.IntN(2) == 0 {
						b = h.Alloc(n, 8)
					} else {
						b = l.Alloc(n, 8)
					}
					if err := zero(b); err != nil {
						t.Error(err)
					}
					o := held{b: b, seed: byte(r.Uint32())}
					fill(o.b, o.seed)
					live = append(live, o)
				case 2:
					if len(live) > 0 {
						i := r.IntN(len(live))
						free(live[i])
						live[i] = live[len(live)-1]
						live = live[:len(live)-1]
					}
				case 3:
					if len(live) > 0 {
						select {
						case mail[r.IntN(workers)] <- live[len(live)-1]:
							live = live[:len(live)-1]
						default:
						}
					}
				case 4:
					select {
					case o := <-mail[g]:
						free(o)
					default:
					}
				}
			}
			for _, o := range live {
				free(o)
			}
		})
	}
	var helpers sync.WaitGroup
	helpers.Go(func() {
		for !stop.Load() {
			if err := h.Purge(); err != nil {
				t.Error(err)
			}
			s := h.Stats()
			if s.Live < 0 || s.Committed > s.Reserved {
				t.Errorf("%+v", s)
			}
			runtime.Gosched()
		}
	})
	helpers.Go(func() {
		before := runtime.GOMAXPROCS(0)
		defer runtime.GOMAXPROCS(before)
		for i := 0; !stop.Load(); i++ {
			runtime.GOMAXPROCS(1 + i%(before+2))
			runtime.Gosched()
		}
	})
	wg.Wait()
	stop.Store(true)
	helpers.Wait()
	for i := range mail {
		close(mail[i])
		for o := range mail[i] {
			if err := o.verify(); err != nil {
				t.Error(err)
			}
			h.Free(o.b)
		}
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	h.check()
	if s := h.Stats(); s.Live != 0 || s.Cached != 0 || s.Free != 0 || h.region.Committed() != 0 {
		t.Fatalf("nothing should be left: %+v", s)
	}
}

// TestHammerOneWay has one goroutine that only allocates and one that only frees: memory must not
// grow with the number of objects.
func TestHammerOneWay(t *testing.T) {
	h := open(t, Config{})
	way := make(chan []byte, 1000)
	var wg sync.WaitGroup
	n := rounds(1_000_000)
	wg.Go(func() {
		for i := range n {
			way <- h.AllocDirty(i%300, 8)
		}
		close(way)
	})
	wg.Go(func() {
		for b := range way {
			h.Free(b)
		}
	})
	wg.Wait()
	if most := h.Stats().HighWater; most > 8<<20 {
		t.Errorf("%d bytes for at most 1002 objects", most)
	}
	h.check()
}

// TestHammerBudget lets many goroutines compete for a budget and a limit.
func TestHammerBudget(t *testing.T) {
	h := open(t, Config{Limit: 12 << 20})
	before := guard.Committed()
	if _, err := guard.SetBudget(guard.Budget{Hard: before + 8<<20}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})
	var refused atomic.Int64
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			var live []held
			for range rounds(10000) {
				if r.IntN(3) > 0 {
					b, err := h.TryAlloc(r.IntN(1<<r.IntN(18)), 8)
					if err != nil {
						refused.Add(1)
						if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "budget") && !strings.Contains(err.Error(), "Limit") {
							t.Error(err)
						}
						for _, o := range live {
							h.Free(o.b)
						}
						live = live[:0]
						continue
					}
					o := held{b: b, seed: byte(r.Uint32())}
					fill(o.b, o.seed)
					live = append(live, o)
				} else if len(live) > 0 {
					o := live[len(live)-1]
					live = live[:len(live)-1]
					if err := o.verify(); err != nil {
						t.Error(err)
					}
					h.Free(o.b)
				}
			}
			for _, o := range live {
				h.Free(o.b)
			}
		})
	}
	wg.Wait()
	if !testing.Short() && refused.Load() == 0 {
		t.Error("nothing was refused: the test is too tame")
	}
	h.check()
}
