package stack

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideLaterProcessors gets and puts stacks on processors that come after OpenPool: they have caches
// as the others do, and Purge takes the stacks in them.
func TestOutsideLaterProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := mustOpen(t, Config{Max: 2000})
	p.Put(get(t, p))
	many := runtime.NumCPU() + 30
	runtime.GOMAXPROCS(many)
	caches := 0
	for end := time.Now().Add(20 * time.Second); caches <= 4; {
		if time.Now().After(end) {
			t.Fatalf("%d caches with %d processors", caches, many)
		}
		var wg sync.WaitGroup
		for range many {
			wg.Go(func() {
				for range 100 {
					s, err := p.TryGet()
					if err != nil {
						t.Error(err)
						return
					}
					p.Put(s)
					runtime.Gosched()
				}
			})
		}
		wg.Wait()
		caches = 0
		for range p.caches.All() {
			caches++
		}
	}
	p.checkInvariants(nil)
	stacktest.NoError(t, p.Purge())
	if s := p.Stats(); s.Stacks != 0 || s.InUse != 0 {
		t.Errorf("after Purge: %+v", s)
	}
	p.checkInvariants(nil)
}
