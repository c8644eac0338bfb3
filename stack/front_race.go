//go:build race

package stack

import (
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// frontLock makes visible to the race detector what the pin guarantees, and it does not know.
type frontLock struct{ sync.Mutex }

func (p *Pool) enter() *front {
	pid := uint(procpin.Pin())
	procpin.Unpin()
	all := p.fronts.Load()
	if all == nil || pid >= uint(len(*all)) {
		return nil
	}
	f := &(*all)[pid]
	f.lock.Lock()
	if p.fronts.Load() != all { // they were taken away
		f.lock.Unlock()
		return nil
	}
	return f
}

func (*Pool) leave(f *front) {
	if f != nil {
		f.lock.Unlock()
	}
}
