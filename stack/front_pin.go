//go:build !race

package stack

import "github.com/seed-9a6c551e/offheap/internal/procpin"

// enter pins the goroutine and returns its processor's front, nil where there is none. Until leave
// nothing may block or allocate.
func (p *Pool) enter() *front {
	return p.fronts[min(uint(procpin.Pin()), maxProcessors)].Load() // once pinned: see takeFronts
}

func (*Pool) leave(*front) { procpin.Unpin() }
