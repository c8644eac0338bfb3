package stack

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestHammerPool gets, fills, pops, hands over and puts stacks on many goroutines. Other goroutines purge, read
// figures, collect garbage and change the number of processors meanwhile.
func TestHammerPool(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := mustOpen(t, Config{Size: 64 << 10, Max: 64, Retain: 4 << 10})
	stacktest.Background(t, runtime.GC)
	stacktest.Background(t, func() {
		if err := p.Purge(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.InUse > 64 || s.Stacks > 64 || s.HighWater > 64<<10 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Millisecond)
	})
	stacktest.Background(t, func() {
		for _, n := range []int{1, 3, 8, 2, 4} {
			runtime.GOMAXPROCS(n)
			time.Sleep(3 * time.Millisecond)
		}
	})
	given := make(chan *Stack, 16)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range stacktest.Rounds(4000) {
				s, err := p.TryGet()
				if err != nil {
					if !errors.Is(err, guard.ErrNoMemory) {
						t.Error(err)
					}
					continue
				}
				for range r.IntN(5) {
					f := s.Push()
					b, err := s.TryAlloc(r.IntN(20<<10), 8)
					if err != nil && !errors.Is(err, ErrOverflow) {
						t.Error(err)
					}
					for i := range b {
						if b[i] != 0 {
							t.Error("memory is not zero")
							return
						}
						b[i] = byte(seed) | 1
					}
					if r.IntN(4) > 0 {
						s.Pop(f)
					}
				}
				if r.IntN(4) == 0 { // another goroutine puts it
					select {
					case given <- s:
						s = nil
					default:
					}
				}
				if s == nil {
					select {
					case s = <-given:
					default:
						continue
					}
				}
				p.Put(s)
			}
		})
	}
	wg.Wait()
	for len(given) > 0 {
		p.Put(<-given)
	}
	p.checkInvariants(nil)
}
