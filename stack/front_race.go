//go:build race

package stack

import "github.com/seed-9a6c551e/offheap/internal/procpin"

func (p *Pool) enter() *front {
	pid := procpin.Pin()
	procpin.Unpin()
	at := &p.fronts[min(uint(pid), maxProcessors)]
	f := at.Load()
	if f != nil {
		f.lock.Lock()
		if at.Load() != f { // it was taken away
			f.lock.Unlock()
			return nil
		}
	}
	return f
}

func (*Pool) leave(f *front) {
	if f != nil {
		f.lock.Unlock()
	}
}
