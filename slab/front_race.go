//go:build race

package slab

import (
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// frontLock makes visible to the race detector what the pin guarantees, and it does not know.
type frontLock struct{ sync.Mutex }

func (fs *fronts) enter() *front {
	pid := procpin.Pin()
	procpin.Unpin()
	at := &fs.of[min(uint(pid), mostProcessors)]
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

func (*fronts) leave(f *front) {
	if f != nil {
		f.lock.Unlock()
	}
}
