package stack

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// Processors that come after Open have a front as the others do, and Purge and Close take what is in it.
func TestOutsideLaterProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := mustOpen(t, Config{Max: 2000})
	p.Put(get(t, p))
	many := runtime.NumCPU() + 30
	runtime.GOMAXPROCS(many)
	seen, served := make([]atomic.Int64, many), make([]atomic.Int64, many)
	begin := time.Now()
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			for time.Since(begin) < 300*time.Millisecond { // long enough that each processor has its turn
				s, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				p.Put(s)
				f := p.enter()
				p.leave(f)
				pid := procpin.Pin()
				procpin.Unpin()
				seen[pid].Add(1)
				if f != nil {
					served[pid].Add(1)
				}
			}
		})
	}
	wg.Wait()
	later, fronts := 0, 0
	for pid := runtime.NumCPU(); pid < many; pid++ {
		if seen[pid].Load() >= 20 {
			later++
			if served[pid].Load() > 0 {
				fronts++
			}
		}
	}
	t.Logf("%d of %d later processors have a front", fronts, later)
	if later == 0 {
		t.Skip("no later processor was used")
	}
	if fronts < later {
		t.Errorf("%d of %d later processors never have a front", later-fronts, later)
	}
	p.check(nil)
	stacktest.NoError(t, p.Purge())
	if s := p.Stats(); s.Stacks != 0 || s.InUse != 0 {
		t.Errorf("after Purge: %+v", s)
	}
	p.check(nil)
}
