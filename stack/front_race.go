//go:build race

package stack

import "github.com/seed-9a6c551e/offheap/internal/procpin"

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
