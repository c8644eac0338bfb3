//go:build !race

package slab

import "github.com/seed-9a6c551e/offheap/internal/procpin"

// enter pins the goroutine and returns its processor's front, nil where it has none yet. Until
// leave nothing may block, allocate or touch user memory.
func (fs *fronts) enter() *front {
	return fs.of[min(uint(procpin.Pin()), mostProcessors)].Load()
}

func (*fronts) leave(*front) { procpin.Unpin() }
