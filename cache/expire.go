package cache

import "time"

// now returns the time since Open, in ns, by a clock that no change of the wall clock moves.
func (c *Cache) now() int64 {
	if c.clock != nil {
		return c.clock()
	}
	return int64(time.Since(c.opened))
}

// deadlineOf returns the point in time that is ttl from now, in ns since Open; the largest one if there is none so late.
func (c *Cache) deadlineOf(ttl time.Duration) int64 {
	now := c.now()
	if at := now + int64(ttl); at > now {
		return at
	}
	return 1<<63 - 1
}

// expire removes an entry that has expired. Caller holds s.mu.
func (s *shard) expire(l *live) {
	s.remove(l)
	s.counts.expirations++
}

// lookForExpired is how many entries a Set looks at, in a shard that has entries with a TTL.
const lookForExpired = 4

// expireSome looks at the next few entries of the log, and removes those that have expired. Each Set of the shard calls it,
// so all entries are looked at while a fourth of their number is set. Caller holds s.mu.
func (s *shard) expireSome() {
	t := &s.cache.segments
	if s.expireAt == 0 {
		if s.expireAt, s.expireHand = s.queues[main].tail, 0; s.expireAt == 0 {
			s.expireAt = s.queues[small].tail
		}
	}
	for range lookForExpired {
		n := s.expireAt
		if n == 0 {
			return
		}
		seg := t.at(n - 1)
		s.expireHand = max(s.expireHand, first(n-1))
		if s.expireHand >= seg.used {
			s.expireHand = 0
			if s.expireAt = seg.next; s.expireAt == 0 && seg.queue == main {
				s.expireAt = s.queues[small].tail
			}
			continue
		}
		p := (n-1)<<t.shift | s.expireHand
		e := s.cache.at(p)
		s.expireHand += uint32(e.granules())
		if !e.isDead() && e.hasTTL() && e.deadline() <= s.cache.now() {
			s.counts.expirations++
			s.drop(p, e, s.rehash(p))
		}
	}
}
