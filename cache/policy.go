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

	mostHits   = 3
	smallShare = 10 // the small queue has at most the 10th part of the granules
	hitsToStay = 2  // in the small queue
)

// queue is a part of the log.
type queue struct {
	list
	hand uint32 // granules of the oldest segment that were looked at
	live int    // granules of live entries
}

// hits returns how often an entry was hit.
func (e entry) hits() int { return int(*e.head() >> hitsShift) }

func (e entry) setHits(n int) { e.keepHits(uint64(n) << hitsShift) }

// The calls of the shard to the policy. Caller holds s.mu.

// hit is called when an entry was found, or has got another value. It seldom writes: the entries that are hit most are not
// written to.
func (s *shard) hit(p place, e entry) {
	if n := e.hits(); n < mostHits {
		e.setHits(n + 1)
	}
}

// inserted is called when a new key has got an entry, in the queue that queueFor named.
func (s *shard) inserted(e entry, hash uint64) {}

// joined is called when a copy of an entry has come into a queue, with the hits of the other, which left is called for next.
func (s *shard) joined(e entry, queue uint8) {}

// left is called when an entry is about to die in a queue.
func (s *shard) left(e entry, queue uint8) {}

// queueFor returns the queue for a new entry. Caller holds s.mu.
func (s *shard) queueFor(hash uint64) uint8 {
	if s.cache.config.Limit == 0 || s.ghosts.take(hash) {
		return main
	}
	return small
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
	case turn == small && e.hits() >= hitsToStay && s.keep(p, e, 0):
	case turn == main && e.hits() > 0 && s.keep(p, e, e.hits()-1):
	default:
		s.evict(p, e, turn)
	}
	return granules
}

// keep moves an entry to the head of the main queue; false if there is no room. Caller holds s.mu.
func (s *shard) keep(p place, e entry, hits int) bool {
	e, ok := s.move(p, e, main)
	if ok {
		e.setHits(hits)
	}
	return ok
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
