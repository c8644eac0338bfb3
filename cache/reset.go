package cache

import "fmt"

// Reset deletes all entries. It returns soon: the memory goes back in steps, with the calls that come next, or by Purge. Other
// goroutines may use the cache meanwhile; what they set while Reset runs may stay. Figures of Stats that count calls go
// on. After Close it does nothing.
//
// Cost: some 20 ns for each 64 KiB of entries.
func (c *Cache) Reset() {
	if c == nil || len(c.shards) == 0 {
		unopened("Reset")
	}
	c.eachOpen((*shard).reset)
}

// reset makes all memory of the shard trash, but for pinned entries. Caller holds s.mu.
func (s *shard) reset() {
	t := &s.cache.segments
	for i := range s.queues {
		q := &s.queues[i]
		for {
			n, ok := q.pop(t)
			if !ok {
				break
			}
			if seg := t.at(n); seg.pins > 0 {
				seg.doomed = true
			} else {
				s.trash.push(t, n)
			}
		}
		*q = queue{}
	}
	for n := range s.apart {
		if o := &s.apart[n]; o.size > 0 && !o.dead && !o.wait {
			s.dropApart(uint32(n))
		}
	}
	s.scrap = append(s.scrap, s.chunks...)
	s.scrap = append(s.scrap, s.policy.ghosts.chunks...)
	s.chunks, s.retiring = nil, 0
	s.index.Open(s.cache.base)
	s.compacting, s.compactFrom, s.expireAt, s.expireHand = 0, 0, 0, 0
	s.withTTL, s.counts.dead = 0, 0
	s.full, s.untilTry = false, 0
	s.forget()
}

// Purge gives all free memory back to the system: that of Reset, spare segments, and what the heap keeps. Segments that are
// partly used stay. The error comes from the kernel, or wraps guard.ErrClosed.
//
// Cost: that of the system calls; it stops the world for some microseconds.
func (c *Cache) Purge() error {
	if c == nil || len(c.shards) == 0 {
		unopened("Purge")
	}
	if !c.enter() {
		return c.errClosed("purge")
	}
	defer c.leave()
	c.dropSpares()
	c.emptyTrash()
	if err := c.heap.Purge(); err != nil {
		return fmt.Errorf("cache: purge: %w", err)
	}
	return nil
}
