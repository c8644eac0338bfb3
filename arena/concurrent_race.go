//go:build race

package arena

import "github.com/seed-9a6c551e/offheap/internal/procpin"

func (k *Concurrent) enter() *chunk {
	pid := procpin.Pin()
	procpin.Unpin()
	c := &k.chunks[min(pid, len(k.chunks)-1)]
	c.lock.Lock()
	return c
}

func (k *Concurrent) leave(c *chunk) { c.lock.Unlock() }
