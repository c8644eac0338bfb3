//go:build !race

package arena

import "github.com/seed-9a6c551e/offheap/internal/procpin"

// chunkLock is nothing: the pin keeps every other goroutine off the processor's chunk.
type chunkLock struct{}

// enter pins the goroutine and returns its processor's chunk. Until leave nothing
// may block, allocate or touch user memory.
func (k *Concurrent) enter() *chunk {
	pid := procpin.Pin()
	return &k.chunks[min(pid, len(k.chunks)-1)]
}

func (k *Concurrent) leave(*chunk) { procpin.Unpin() }
