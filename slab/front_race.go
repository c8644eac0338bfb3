//go:build race

package slab

import (
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// frontLock makes visible to the race detector what the pin guarantees, and it does not know.
type frontLock struct{ sync.Mutex }

func (h *Heap) enter() *front {
	pid := procpin.Pin()
	procpin.Unpin()
	at := &h.fronts[min(uint(pid), mostProcessors)]
	f := at.Load()
	if f != nil {
		f.lock.Lock()
		if at.Load() != f { // Purge has taken it away
			f.lock.Unlock()
			return nil
		}
	}
	return f
}

func (h *Heap) leave(f *front) {
	if f != nil {
		f.lock.Unlock()
	}
}
