package table

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/race"
)

// hammerRounds returns n, or less where tests should be short.
func hammerRounds(n int) int {
	if testing.Short() {
		n /= 5
	}
	if race.Enabled || invariant.Enabled || runtime.GOARCH != "amd64" { // which may be emulated
		n /= 5
	}
	return n
}

// marked is a value that shows whether it is torn: each word depends on the key and the first word.
type marked [6]uint64

func mark(k, version uint64) (v marked) {
	for i := range v {
		v[i] = version + uint64(i)*(k|1)
	}
	return v
}

func (v marked) ok(k uint64) bool { return v == mark(k, v[0]) }

// TestHammerConcurrent: goroutines do everything to few keys, so that they meet, and to many, so that the table grows meanwhile. No value
// is torn, none is that of another key, and what a goroutine alone changes is what it made of it.
func TestHammerConcurrent(t *testing.T) {
	for _, of := range []struct {
		name string
		keys uint64
	}{{"few", 50}, {"many", 100_000}} {
		t.Run(of.name, func(t *testing.T) {
			c := NewConcurrent[uint64, marked](openTest(t, arena.Config{}), 0)
			var wg sync.WaitGroup
			var version atomic.Uint64
			for g := range uint64(6) {
				wg.Go(func() {
					mine := map[uint64]uint64{} // keys that no other goroutine changes
					for round := range uint64(hammerRounds(30_000)) {
						k := rand.Uint64N(of.keys)
						v := version.Add(1)
						switch op := rand.IntN(100); {
						case op < 45:
							if w, ok := c.Get(k); ok && !w.ok(k) {
								t.Errorf("Get(%d): torn: %v", k, w)
								return
							}
						case op < 60:
							c.Put(k, mark(k, v))
						case op < 65:
							c.Delete(k)
						case op < 70:
							c.Add(k, mark(k, v))
						case op < 78:
							c.Update(k, func(old marked, there bool) (marked, bool) {
								if there && !old.ok(k) {
									t.Errorf("Update(%d): torn: %v", k, old)
								}
								return mark(k, v), v%5 != 0
							})
						case op < 92:
							own := of.keys + g + 10*rand.Uint64N(of.keys)
							w, ok := c.Get(own)
							if want, there := mine[own]; ok != there || ok && w != mark(own, want) {
								t.Errorf("Get(%d): %v %v; it is %d %v", own, w, ok, want, there)
								return
							}
							if v%3 == 0 {
								if c.Delete(own) != ok {
									t.Errorf("Delete(%d): it is %v", own, ok)
								}
								delete(mine, own)
							} else {
								c.Put(own, mark(own, v))
								mine[own] = v
							}
						case op < 94:
							for k, v := range c.Sample(3) {
								if !v.ok(k) {
									t.Errorf("Sample: torn: %d %v", k, v)
								}
							}
						case op < 96:
							keys, values := make([]uint64, 20), make([]marked, 20)
							for i := range keys {
								keys[i] = rand.Uint64N(of.keys)
							}
							found := make([]bool, 20)
							c.GetBatch(keys, values, found)
							for i, k := range keys {
								if found[i] && !values[i].ok(k) || !found[i] && values[i] != (marked{}) {
									t.Errorf("GetBatch: %d is %v %v", k, values[i], found[i])
								}
							}
						case op < 97 && round%8 == 0:
							n := 0
							for k, v := range c.All() {
								if !v.ok(k) {
									t.Errorf("All: torn: %d %v", k, v)
								}
								if n++; n > 1000 {
									break
								}
							}
						case op < 98:
							cursor := Cursor(rand.Uint64())
							for k, v := range c.Scan(&cursor, 10) {
								if !v.ok(k) {
									t.Errorf("Scan: torn: %d %v", k, v)
								}
							}
						case round%512 == 0:
							c.Shrink()
						case round%64 == 0:
							runtime.GC()
						}
					}
					for k, v := range mine {
						if w, ok := c.Get(k); !ok || w != mark(k, v) {
							t.Errorf("in the end %d is %v %v; it should be %d", k, w, ok, v)
						}
					}
				})
			}
			wg.Wait()
			c.check()
		})
	}
}

// TestHammerConcurrentCounters: what many goroutines add with Update and Add is there in the end, and counters are never
// seen to go back.
func TestHammerConcurrentCounters(t *testing.T) {
	c := NewConcurrent[int, uint64](openTest(t, arena.Config{}), 0)
	const goroutines, counters = 4, 300
	rounds := hammerRounds(40_000)
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		wg.Go(func() {
			last := [counters]uint64{}
			for !stop.Load() {
				k := rand.IntN(counters)
				v, _ := c.Get(k)
				if v < last[k] {
					t.Errorf("counter %d went from %d back to %d", k, last[k], v)
					return
				}
				last[k] = v
			}
		})
	}
	var writers sync.WaitGroup
	var added atomic.Int64
	for range goroutines {
		writers.Go(func() {
			for i := range rounds {
				k := i % counters
				if i%7 == 0 && c.Add(counters+i, 1) {
					added.Add(1)
				}
				c.Update(k, func(old uint64, there bool) (uint64, bool) {
					if there != (old > 0) {
						t.Errorf("counter %d: %d %v", k, old, there)
					}
					return old + 1, true
				})
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	wg.Wait()
	sum, rest := uint64(0), 0
	for k, v := range c.All() {
		if k < counters {
			sum += v
		} else {
			rest++
		}
	}
	if sum != uint64(goroutines*rounds) || rest != int(added.Load()) || rest != (rounds+6)/7 {
		t.Errorf("counters add up to %d, want %d; %d others, %d were added", sum, goroutines*rounds, rest, added.Load())
	}
}

// TestHammerConcurrentGrowth: what is there is found at every moment while the table grows and shrinks around it, and every
// iteration meets it once.
func TestHammerConcurrentGrowth(t *testing.T) {
	c := NewConcurrent[int, int](openTest(t, arena.Config{}), 0)
	const stay = 2000
	for i := range stay {
		c.Put(-1-i, i)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for round := 0; !stop.Load(); round++ {
				k := rand.IntN(stay)
				if v, ok := c.Get(-1 - k); !ok || v != k {
					t.Errorf("Get: %d became %d %v", k, v, ok)
					return
				}
				if round%1000 != g {
					continue
				}
				seen := map[int]bool{}
				see := func(k int) {
					if seen[k] {
						t.Errorf("%d came twice", k)
					}
					seen[k] = true
				}
				if g == 0 {
					for k := range c.All() {
						see(k)
					}
				} else {
					for cursor := Cursor(0); ; {
						for k := range c.Scan(&cursor, 500) {
							see(k)
						}
						if cursor == 0 {
							break
						}
					}
				}
				for i := range stay {
					if !seen[-1-i] {
						t.Errorf("%d did not come", i)
						return
					}
				}
			}
		})
	}
	n := hammerRounds(150_000)
	for range 2 {
		for i := range n {
			c.Put(i, i)
		}
		old := runtime.GOMAXPROCS(3)
		for i := range n {
			c.Delete(i)
		}
		runtime.GOMAXPROCS(old)
		c.Shrink()
	}
	stop.Store(true)
	wg.Wait()
	c.check()
	if c.Len() != stay {
		t.Errorf("%d entries, want %d", c.Len(), stay)
	}
}

// TestHammerConcurrentProgress: searches of a key come to an end although a goroutine changes it all the time.
func TestHammerConcurrentProgress(t *testing.T) {
	c := NewConcurrent[int, marked](openTest(t, arena.Config{}), 0)
	c.Put(1, mark(1, 0))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := uint64(0); !stop.Load(); i++ {
				c.Put(1, mark(1, i))
			}
		})
	}
	for range hammerRounds(20_000) {
		if v, ok := c.Get(1); !ok || !v.ok(1) {
			t.Fatal(v, ok)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestHammerConcurrentAtLimit: where the arena is full, goroutines take blocks of shards that others use.
func TestHammerConcurrentAtLimit(t *testing.T) {
	c := NewConcurrent[uint64, uint64](openTest(t, arena.Config{Limit: 2 << 20}), 0)
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			keys := []uint64{}
			for range hammerRounds(50_000) {
				k := rand.Uint64()<<2 | g
				if err := c.TryPut(k, ^k); err == nil {
					keys = append(keys, k)
				} else {
					for range min(10, len(keys)) { // the others may have filled the arena before this one had its turn
						i := rand.IntN(len(keys))
						k := keys[i]
						if v, ok := c.Get(k); v != ^k || !ok || !c.Delete(k) {
							t.Errorf("%d is %d %v", k, v, ok)
							return
						}
						keys[i] = keys[len(keys)-1]
						keys = keys[:len(keys)-1]
					}
				}
			}
		})
	}
	wg.Wait()
	c.check()
}

// TestHammerConcurrentEnd: Reset ends the table while goroutines change it: each of them gets the violation, and none waits
// for ever.
func TestHammerConcurrentEnd(t *testing.T) {
	for range hammerRounds(50) + 1 {
		a := openTest(t, arena.Config{})
		c := NewConcurrent[int, int](a, 100_000) // does not allocate while Reset runs, which would be a race of the program
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				err := panicOf(func() {
					for i := 0; ; i++ {
						c.Update(i%10_000, func(old int, _ bool) (int, bool) { return old + 1, true })
						c.Delete(rand.IntN(10_000))
					}
				})
				if err == nil {
					t.Error("no violation")
				}
			})
		}
		time.Sleep(time.Millisecond)
		c.end() // as Reset does
		wg.Wait()
	}
}
