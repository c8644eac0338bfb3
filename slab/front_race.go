//go:build race

package slab

import "github.com/seed-9a6c551e/offheap/internal/procpin"

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
