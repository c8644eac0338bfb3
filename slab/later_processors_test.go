package slab

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestOutsideLaterProcessors allocates and frees on processors that come after Open: they have caches as the
// others do. When they have gone, Stats counts the slots in their caches, and Purge takes them.
func TestOutsideLaterProcessors(t *testing.T) {
	for _, c := range []Config{{Name: "heap"}, {Name: "hardened", Hardened: true}} {
		t.Run(c.Name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
			h := open(t, c)
			many := runtime.NumCPU() + 30
			runtime.GOMAXPROCS(many)
			caches := 0
			for end := time.Now().Add(patience); caches <= 4; {
				if time.Now().After(end) {
					t.Fatalf("%d caches with %d processors", caches, many)
				}
				var all sync.WaitGroup
				for range many {
					all.Go(func() {
						for range 100 {
							h.Free(h.AllocDirty(100, 8))
							runtime.Gosched()
						}
					})
				}
				all.Wait()
				caches = 0
				for range h.stock.All() {
					caches++
				}
			}
			runtime.GOMAXPROCS(2)
			if s := h.Stats(); s.Live != 0 || s.Cached == 0 {
				t.Errorf("before Purge: %+v", s)
			}
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			if s := h.Stats(); s.Cached != 0 || s.Free != 0 || h.region.Committed() != 0 {
				t.Errorf("after Purge: %+v", s)
			}
			h.check()
		})
	}
}
