package cache

// tidy does a little of the work that a cache owes, after some granules were set. Caller holds s.mu.
func (s *shard) tidy(granules int) {
	if s.untilTry > 0 {
		for range evictAtOnce {
			if !s.isBehind() || s.evictNext() == 0 {
				break
			}
		}
	}
	if s.counts.dead > 0 {
		s.compact(granules)
	}
	if s.withTTL > 0 {
		s.expireSome()
	}
	if at, ok := s.policy.ghosts.dropChunk(s.index.Len()); ok {
		s.scrap = append(s.scrap, at)
	}
	if s.index.HasMuchFree(chunkSize) && len(s.chunks) > 0 {
		s.index.Retire(uintptr(s.chunks[len(s.chunks)-1])*granule, chunkSize)
		s.retiring = uint32(len(s.chunks))
	}
	if s.retiring > 0 && s.index.DrainSome() {
		s.returnChunk()
	}
}

const (
	evictAhead  = 8 // the 8th part of a segment: that much earlier than needed the oldest one is free
	evictAtOnce = 8 // entries, at most, that a call looks at ahead

	deadShare     = 8 // compact works when more than an 8th of the log is dead
	compactAhead  = 3 // granules that it looks at for each that is set
	compactTries  = 8 // segments that it chooses from
	compactAtOnce = 64
)

// isBehind tells whether the small queue's youngest segment may be full before the oldest segment of the queue whose turn it is becomes
// free: more granules are to be looked at there than have room here. Caller holds s.mu.
func (s *shard) isBehind() bool {
	t := &s.cache.segments
	size := 1 << t.shift
	q := &s.queues[s.turn()]
	if q.tail == q.head { // a segment that is written to is not free when it is empty
		if q = &s.queues[1-s.turn()]; q.tail == q.head {
			return false
		}
	}
	left, room := int(t.at(q.tail-1).used-q.hand), 0
	if head := s.queues[small].head; head != 0 {
		room = size - int(t.at(head-1).used)
	}
	return left+size/evictAhead > room+(s.spares.n-1)*size // one is for the main queue: see hasSpareToFill
}

// compact copies entries out of a segment that has much dead memory, a few at a time. Caller holds s.mu.
func (s *shard) compact(granules int) {
	t := &s.cache.segments
	if s.compacting == 0 {
		all := s.queues[small].n + s.queues[main].n
		if s.counts.dead*deadShare < all<<t.shift || all < 4 {
			return
		}
		s.chooseDeadest()
		if s.compacting == 0 {
			return
		}
	}
	n := s.compacting - 1
	seg := t.at(n)
	for looked, i := 0, 0; looked < granules*compactAhead && i < compactAtOnce; i++ {
		if s.compactHand >= seg.used {
			s.compacting = 0 // pinned
			return
		}
		p := n<<t.shift | s.compactHand
		e := s.cache.at(p)
		size := e.granules()
		if !e.isDead() {
			if !s.hasRoom(seg.queue, size) {
				return
			}
			s.move(p, e, seg.queue)
		}
		if s.compacting == 0 {
			return
		}
		s.compactHand += uint32(size)
		looked += size
	}
}

// chooseDeadest chooses the segment with most dead memory out of some, which come in turn. Caller holds s.mu.
func (s *shard) chooseDeadest() {
	t := &s.cache.segments
	q := &s.queues[main]
	if s.compactFrom == 0 {
		if s.compactFrom = q.tail; s.queues[small].n > q.n {
			s.compactFrom = s.queues[small].tail
		}
	}
	best, most := uint32(0), uint32(0)
	for range compactTries {
		n := s.compactFrom
		if n == 0 {
			break
		}
		seg := t.at(n - 1)
		s.compactFrom = seg.next
		if seg.dead > most && seg.pins == 0 && s.queues[seg.queue].head != n {
			best, most = n, seg.dead
		}
	}
	if most*deadShare >= 1<<t.shift {
		s.compacting, s.compactHand = best, first(best-1)
	}
}

// returnChunk has the chunk that the index has left go back to the heap. Caller holds s.mu.
func (s *shard) returnChunk() {
	n, last := s.retiring-1, len(s.chunks)-1
	s.scrap = append(s.scrap, s.chunks[n])
	s.chunks[n], s.chunks = s.chunks[last], s.chunks[:last]
	s.retiring = 0
}
