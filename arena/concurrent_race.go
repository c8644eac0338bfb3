//go:build race

package arena

import "github.com/seed-9a6c551e/offheap/internal/procpin"

func (k *Concurrent) enter() *chunk {
	pid := procpin.Pin()
	procpin.Unpin()
	at := &k.of[min(uint(pid), mostProcessors)]
	c := at.Load()
	if c != nil {
		c.lock.Lock()
		if at.Load() != c { // Close has taken it away
			c.lock.Unlock()
			return nil
		}
	}
	return c
}

func (k *Concurrent) leave(c *chunk) {
	if c != nil {
		c.lock.Unlock()
	}
}
