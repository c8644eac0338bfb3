package cache

// Stats are the figures of a cache: numbers of calls and entries since Open, and bytes now.
type Stats struct {
	Hits        int // of Get, View and Update
	Misses      int // of Get, View and Update, those included that met an entry which has expired
	Sets        int
	Deletes     int // that found their key
	Evictions   int // entries that went out to make room
	Expirations int // entries that were removed because their time was over
	Entries     int // now

	// Committed is what the budget is charged for the cache. The other figures are parts of it; what is missing are the
	// books of the heap, and memory that it keeps.
	Committed int64
	Live      int64 // of entries: headers, keys, values, and what they are rounded up by
	Dead      int64 // of entries that were deleted, replaced or moved, until their segment is free
	Index     int64
	Ghosts    int64 // of keys that were evicted: how often they were used
	Free      int64 // of segments: behind the youngest entries, and spare ones
}

// Stats returns the figures of the cache. They are not of one moment: it looks at one shard after the other. It makes no system
// call. After Close the bytes are 0.
//
// Cost: some microseconds. It takes the lock of each shard, and calls slab.Heap.Stats.
func (c *Cache) Stats() (st Stats) {
	if c == nil || len(c.shards) == 0 {
		unopened("Stats")
	}
	for i := range c.shards {
		c.shards[i].addTo(&st)
	}
	if c.enter() {
		st.Committed = c.heap.Stats().Committed
		_ = c.leave()
	}
	return st
}

// addTo adds the figures of the shard.
func (s *shard) addTo(st *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.counts
	st.Hits += s.hits
	st.Misses += s.misses
	st.Sets += n.sets
	st.Deletes += n.deletes
	st.Evictions += n.evictions
	st.Expirations += n.expirations
	if s.closed {
		return
	}
	st.Entries += s.index.Len()
	live := s.queues[small].live + s.queues[main].live
	st.Live += int64(live)*granule + int64(n.apart)
	st.Dead += int64(n.dead) * granule
	st.Index += int64(s.index.Bytes())
	st.Ghosts += int64(len(s.policy.ghosts.chunks)) * chunkSize
	st.Free += int64(s.segments)*int64(s.cache.segmentSize) - int64(live+n.dead)*granule
}

// counts are the figures of a shard, but for the hits and the misses. Its lock guards them.
type counts struct {
	sets, dead             int // dead: granules of dead entries in segments of queues
	deletes                int
	evictions, expirations int
	apart                  int // bytes of objects of the heap that hold a key and a value
}
