//go:build !race

package arena

import "github.com/seed-9a6c551e/offheap/internal/procpin"

// enter pins the goroutine and returns its processor's chunk; nil where it has none yet. Until leave
// nothing may block, allocate or touch user memory.
func (k *Concurrent) enter() *chunk {
	return k.of[min(uint(procpin.Pin()), mostProcessors)].Load()
}

func (k *Concurrent) leave(*chunk) { procpin.Unpin() }
