package slab

import (
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
)

// account counts what slabs and large objects take, and holds it to the limit.
type account struct {
	mu         sync.Mutex
	used, peak int // bytes
	limit      int // 0 for none
	name       string
}

func (a *account) charge(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limit > 0 && n > a.limit-a.used {
		return fmt.Errorf("%q: %d bytes on top of the %d in slabs and large objects exceed its Limit of %d: %w",
			a.name, n, a.used, a.limit, guard.ErrNoMemory)
	}
	a.used += n
	a.peak = max(a.peak, a.used)
	return nil
}

func (a *account) refund(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= n
}

func (a *account) bytes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

func (a *account) highWater() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.peak)
}
