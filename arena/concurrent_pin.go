//go:build !race

package arena

import "github.com/seed-9a6c551e/offheap/internal/procpin"

// enter pins the goroutine and returns its processor's chunk. Until leave nothing
// may block, allocate or touch user memory.
func (k *Concurrent) enter() *chunk {
	pid := procpin.Pin()
	return &k.chunks[min(pid, len(k.chunks)-1)]
}

func (k *Concurrent) leave(*chunk) { procpin.Unpin() }
