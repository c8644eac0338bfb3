package cache

import "github.com/seed-9a6c551e/offheap/internal/invariant"

// check panics if an invariant of the cache does not hold. It takes the lock of one shard after the other.
func (c *Cache) check() {
	c.eachOpen((*shard).check)
}

// checked checks a small shard after a change, in builds with -tags invariants. Caller holds s.mu.
func (s *shard) checked() {
	if invariant.Enabled && !s.closed && s.index.Len() < 50 {
		s.check()
	}
}

// check panics if an invariant of the shard does not hold. Caller holds s.mu.
func (s *shard) check() {
	holds := func(ok bool, what string, about ...any) { invariant.Holds("cache", ok, what, about...) }
	s.index.Check()
	t := &s.cache.segments
	entries, dead, withTTL, inMain := 0, 0, 0, 0
	for i := range s.queues {
		q := &s.queues[i]
		n, live, prev := 0, 0, uint32(0)
		for at := q.tail; at != 0; at = t.at(at - 1).next {
			seg := t.at(at - 1)
			holds(seg.prev == prev && int(seg.queue) == i && !seg.doomed, "segment %d is linked", at-1)
			holds(seg.used <= 1<<t.shift, "segment %d uses %d granules", at-1, seg.used)
			deadHere := first(at - 1)
			for g := first(at - 1); g < seg.used; {
				p := (at-1)<<t.shift | g
				e := s.cache.at(p)
				size := uint32(e.granules())
				holds(size > 0 && g+size <= seg.used, "the entry at %d has %d granules", p, size)
				if g += size; e.isDead() {
					deadHere += size
					continue
				}
				live += int(size)
				entries++
				inMain += i
				if e.hasTTL() {
					withTTL++
				}
				_, ok := s.findPlace(s.rehash(p), p)
				holds(ok, "the entry at %d is in the index", p)
			}
			holds(deadHere == seg.dead, "segment %d has %d dead granules, and counts %d", at-1, deadHere, seg.dead)
			holds(deadHere < seg.used || at == q.head, "segment %d has live entries", at-1)
			dead += int(deadHere - first(at-1))
			n++
			prev = at
		}
		holds(prev == q.head && n == q.n && live == q.live, "queue %d has %d segments and %d live granules, and counts %d and %d", i, n, live, q.n, q.live)
	}
	apart, lives := 0, 0
	for n := range s.apart {
		if o := &s.apart[n]; o.size > 0 && !o.dead && !o.wait {
			lives += s.apartGranules(uint32(n))
		}
	}
	for i := range s.queues {
		apart += s.queues[i].apart
	}
	holds(apart == lives, "%d granules are apart, %d are counted", lives, apart)
	holds(entries == s.index.Len(), "the log has %d entries, the index %d", entries, s.index.Len())
	holds(dead == s.counts.dead, "%d granules are dead, %d are counted", dead, s.counts.dead)
	holds(s.cache.config.Limit == 0 || inMain == s.policy.inMain, "main has %d entries, the policy counts %d", inMain, s.policy.inMain)
	counted := 0
	for f, n := range s.policy.frequencies {
		holds(n >= 0, "%d entries have frequency %d", n, f)
		counted += n
	}
	holds(counted == s.policy.inMain, "%d frequencies are counted of %d entries", counted, s.policy.inMain)
	holds(withTTL == s.withTTL, "%d entries have a TTL, %d are counted", withTTL, s.withTTL)
}
