package cache

// The policy is S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak: FIFO queues are all you need for cache eviction, SOSP 2023): two
// queues in the order of insertion, and a memory of what was evicted.
//
//		            new                                              evicted once, and set again
//		             │                                                           │
//		             ▼                                                           ▼
//		small  ┌───────────┐   two hits or more                  main  ┌──────────────────────┐
//		       └───────────┘ ─────────────────────────────────────▶    └──────────────────────┘ ──▶ out, if not hit
//		             │                                                        ▲          │
//		             ▼ else                                                   └──────────┘ else, with a hit less
//		        out: a ghost
//
//	 1. A new entry goes to the small queue, which has a tenth of the memory. An entry counts up to three hits.
//	 2. At the end of the small queue an entry that was hit twice goes to the main queue, and others go out: most of what is
//	    seen once leaves soon. A ghost stays of an entry that goes out: 16 bits of its hash.
//	 3. A key that has a ghost is set to the main queue.
//	 4. At the end of the main queue an entry that was hit goes to the beginning, with a hit less.
//
// A queue is a part of the log, so its order takes no memory: an entry that goes to another queue, or to the beginning, is
// copied there. When a segment has no live entries any more it is free.
//
// A cache without a Limit has all entries in its main queue and evicts none.
const (
	small = 0
	main  = 1

	smallShare  = 10 // the small queue has at most the 10th part of the granules
	hitsToStay  = 2  // in the small queue
	evictAhead  = 4  // granules that are looked at for each that is set
	evictAtOnce = 8  // entries, at most, that a call looks at ahead
)

// queue is a part of the log.
type queue struct {
	list
	hand uint32 // granules of the oldest segment that were looked at
	live int    // granules of live entries
}

// queueFor returns the queue for a new entry. Caller holds s.mu.
func (s *shard) queueFor(hash uint64) uint8 {
	if s.cache.config.Limit == 0 || s.ghosts.take(hash) {
		return main
	}
	return small
}

// tidy does a little of the work that a cache owes, after some granules were set. Caller holds s.mu.
func (s *shard) tidy(granules int) {
	if s.full && s.spares.n < mostSpares {
		looked := 0
		for range evictAtOnce {
			n := s.evictNext()
			if looked += n; n == 0 || looked >= granules*evictAhead || s.spares.n >= mostSpares {
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
}

// evictNext looks at the next entry in its turn, and moves or evicts it. It returns the granules that it looked at; 0 if there
// is no entry. Caller holds s.mu.
func (s *shard) evictNext() (granules int) {
	turn := uint8(main)
	if q := &s.queues[small]; q.tail != 0 && (q.live*smallShare >= q.live+s.queues[main].live || s.queues[main].tail == 0) {
		turn = small
	}
	q, t := &s.queues[turn], &s.cache.segments
	if q.tail == 0 {
		return 0
	}
	n := q.tail - 1
	seg := t.at(n)
	q.hand = max(q.hand, first(n))
	if q.hand >= seg.used { // the youngest, and empty
		return 0
	}
	p := n<<t.shift | q.hand
	e := s.cache.at(p)
	granules = e.granules()
	q.hand += uint32(granules)
	switch {
	case e.isDead():
	case e.hasTTL() && e.deadline() <= s.cache.now():
		s.drop(p, e, s.rehash(p))
		s.counts.expirations++
	case turn == small && e.hits() >= hitsToStay && s.move(p, e, main, 0):
	case turn == main && e.hits() > 0 && s.move(p, e, main, e.hits()-1):
	default:
		s.evict(p, e, turn)
	}
	return granules
}

// evict removes an entry to make room. Caller holds s.mu.
func (s *shard) evict(p place, e entry, turn uint8) {
	hash := s.rehash(p)
	if turn == small {
		s.ghosts.add(hash)
	}
	s.counts.evictions++
	if s.cache.config.OnEvict != nil {
		s.evicted = append(s.evicted, s.pin(p, e))
	}
	s.drop(p, e, hash)
}

// drop removes the entry at a place. Caller holds s.mu.
func (s *shard) drop(p place, e entry, hash uint64) {
	if search, ok := s.findPlace(hash, p); ok {
		search.Remove()
	}
	s.kill(p, e)
}

const (
	deadShare     = 4 // compact works when more than a 4th of the log is dead
	compactAhead  = 3 // granules that it looks at for each that is set
	compactTries  = 8 // segments that it chooses from
	compactAtOnce = 64
)

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
			s.move(p, e, seg.queue, e.hits())
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
