//go:build race

package arena

import (
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// chunkLock makes visible to the race detector what the pin guarantees, and it does not know.
type chunkLock struct{ sync.Mutex }

func (k *Concurrent) enter() *chunk {
	pid := procpin.Pin()
	procpin.Unpin()
	c := &k.chunks[min(pid, len(k.chunks)-1)]
	c.lock.Lock()
	return c
}

func (k *Concurrent) leave(c *chunk) { c.lock.Unlock() }
