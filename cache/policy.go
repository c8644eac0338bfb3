package cache

// The policy chooses what is evicted. It has the shape of S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak: FIFO queues are all you
// need for cache eviction, SOSP 2023), two queues in the order of insertion and a memory of what was evicted, and the rule of
// TinyLFU (Einziger, Friedman, Manes, 2017): what comes must be asked for more often than what goes.
//
//	            new
//	             │
//	             ▼
//	small  ┌───────────┐   more frequent than main's low tenth   main  ┌──────────────────────┐
//	       └───────────┘ ────────────────────────────────────────▶     └──────────────────────┘ ──▶ out, if in the low tenth
//	             │                                                            ▲          │
//	             ▼ else                                                       └──────────┘ else
//	        out, and a ghost                                                        out: a ghost, too
//
//	 1. A new entry goes to the small queue, which has a tenth of the log. Its frequency is 1, and that of its ghost if
//	    it was evicted lately. Each hit adds 1, up to 7.
//	 2. When memory is needed, the oldest entry of the small queue goes out, or to the main queue if its frequency is above the
//	    threshold: the least frequency that a tenth of main's entries do not exceed. A histogram of them tells.
//	 3. When main has more than its share, its oldest entry goes out, or back to the beginning if it is above the threshold.
//	 4. Of an entry that goes out, a ghost keeps the frequency: see ghost.go.
//	 5. An epoch ends after 20 accesses and 10 insertions for each entry of the shard. Then all frequencies are halved: each when
//	    it is looked at next.
//
// A queue is a part of the log, so its order takes no memory: an entry that goes to another queue, or to the beginning, is
// copied there, about one for eight evictions. As long as memory is not short, nothing is copied: the small queue's oldest
// segment is made one of main. The state of an entry is 8 bits of its header. Most hits write nothing: they are of entries that
// have frequency 7.
//
// A cache without a Limit has all entries in its main queue and evicts none.
const (
	small = 0
	main  = 1

	mostFrequent = 7
	smallShare   = 10 // the small queue has the 10th part of the granules
	lowShare     = 10 // the 10th part of main's entries is at or below the threshold

	accessesPerEpoch   = 20 // for each entry
	insertionsPerEpoch = 10 // for each entry
)

// policy is the state of a shard's policy.
type policy struct {
	accesses    int // in this epoch
	insertions  int
	epoch       uint16                // 12 bits; entries know 5 of them
	inMain      int                   // entries
	frequencies [mostFrequent + 1]int // of main's entries
	ghosts      ghosts
}

// queue is a part of the log.
type queue struct {
	list
	apart int    // granules of the objects apart that its entries have
	hand  uint32 // granules of the oldest segment that were looked at
	live  int    // granules of live entries
}

// An entry's state is its frequency, 3 bits, and the epoch in which it was written, 5 bits.
const (
	frequencyBits = 3
	epochBits     = 8 - frequencyBits
)

// frequency returns how often an entry was used lately.
func (p *policy) frequency(e entry) int {
	state := *e.head() >> hitsShift
	return int(state & mostFrequent >> ((uint64(p.epoch) - state>>frequencyBits) & (1<<epochBits - 1)))
}

func (p *policy) setFrequency(e entry, f int) {
	e.keepHits((uint64(p.epoch)<<frequencyBits | uint64(f)) << hitsShift)
}

// count adds n to the number of main's entries with a frequency.
func (p *policy) count(f, n int) {
	p.inMain += n
	for p.frequencies[f]+n < 0 && f > 0 {
		f-- // an entry that was not looked at for so long that its epoch seems to be a recent one
	}
	p.frequencies[f] += n
}

// threshold returns the least frequency that a tenth of main's entries do not exceed.
func (p *policy) threshold() int {
	sum := 0
	for f, n := range p.frequencies {
		if sum += n; sum*lowShare >= p.inMain {
			return f
		}
	}
	return mostFrequent
}

// used counts an access, and ends the epoch of a shard of some entries when it is due.
func (p *policy) used(entries int) {
	p.accesses++
	if p.accesses < entries*accessesPerEpoch || p.insertions < entries*insertionsPerEpoch {
		return
	}
	p.accesses, p.insertions = 0, 0
	p.epoch = (p.epoch + 1) & (1<<12 - 1)
	var halved [mostFrequent + 1]int
	for f, n := range p.frequencies {
		halved[f/2] += n
	}
	p.frequencies = halved
}

// The calls of the shard to the policy. Caller holds s.mu.

// hit is called when an entry was found, or has got another value.
func (s *shard) hit(at place, e entry) {
	if s.cache.config.Limit == 0 {
		return
	}
	p := &s.policy
	p.used(s.index.Len())
	f := p.frequency(e)
	if f == mostFrequent {
		return
	}
	p.setFrequency(e, f+1)
	if s.cache.segments.of(at).queue == main {
		p.count(f, -1)
		p.count(f+1, 1)
	}
}

// forget is called when all entries of the shard were deleted at once: left was not called for them.
func (s *shard) forget() { s.policy = policy{} }

// queueFor returns the queue for new entries.
func (s *shard) queueFor() uint8 {
	if s.cache.config.Limit == 0 {
		return main
	}
	return small
}

// inserted is called when a new key has got an entry, in the queue that queueFor named.
func (s *shard) inserted(e entry, hash uint64) {
	if s.cache.config.Limit == 0 {
		return
	}
	p := &s.policy
	p.insertions++
	p.used(s.index.Len())
	p.setFrequency(e, min(p.ghosts.frequency(hash, p.epoch)+1, mostFrequent))
	if !s.full {
		s.relabel()
	}
}

// joined is called when a copy of an entry has come into a queue, with the state of the other, which left is called for next.
func (s *shard) joined(e entry, queue uint8) {
	if queue == main && s.cache.config.Limit != 0 {
		s.policy.count(s.policy.frequency(e), 1)
	}
}

// left is called when an entry is about to die in a queue.
func (s *shard) left(e entry, queue uint8) {
	if queue == main && s.cache.config.Limit != 0 {
		s.policy.count(s.policy.frequency(e), -1)
	}
}

// relabel makes the oldest segment of the small queue one of main, without a copy, if the small queue has more than its share.
// It looks at the headers of the segment.
func (s *shard) relabel() {
	q, to, t := &s.queues[small], &s.queues[main], &s.cache.segments
	if q.n < 2 || (q.n-1)*smallShare < q.n+to.n {
		return
	}
	n := q.tail - 1
	seg := t.at(n)
	q.remove(t, n)
	q.hand = 0
	seg.queue = main
	to.pushSecond(t, n)
	for g := first(n); g < seg.used; {
		e := s.cache.at(n<<t.shift | g)
		g += uint32(e.granules())
		if !e.isDead() {
			q.live -= e.granules()
			to.live += e.granules()
			if e.isApart() {
				q.apart -= s.apartGranules(e.number())
				to.apart += s.apartGranules(e.number())
			}
			s.policy.count(s.policy.frequency(e), 1)
		}
	}
}

// pushSecond makes a segment the youngest but one, or the only one: the youngest is the one that is written to.
func (l *list) pushSecond(t *segments, number uint32) {
	youngest := l.head
	if youngest != 0 {
		l.remove(t, youngest-1)
	}
	l.push(t, number)
	if youngest != 0 {
		l.push(t, youngest-1)
	}
}

// weight returns the granules that the entries of the queue take, in the log and apart.
func (q *queue) weight() int { return q.live + q.apart }

// turn returns the queue from which the next entry is to be evicted.
func (s *shard) turn() uint8 {
	if q := &s.queues[small]; q.weight()*smallShare >= q.weight()+s.queues[main].weight() {
		return small
	}
	return main
}

// evictNext looks at the next entry in its turn, and moves or evicts it. It returns the granules that it looked at; 0 if there
// is no entry.
func (s *shard) evictNext() (granules int) {
	turn := s.turn()
	if granules = s.evictFrom(turn); granules == 0 {
		granules = s.evictFrom(1 - turn)
	}
	return granules
}

// evictFrom looks at the next entry of a queue.
func (s *shard) evictFrom(turn uint8) (granules int) {
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
	case s.policy.frequency(e) > s.policy.threshold() && s.keep(p, e):
	default:
		s.evict(p, e)
	}
	return granules
}

// keep moves an entry to the head of the main queue; false if there is no room.
func (s *shard) keep(p place, e entry) bool {
	_, ok := s.move(p, e, main)
	return ok
}

// evict removes an entry to make room.
func (s *shard) evict(p place, e entry) {
	hash := s.rehash(p)
	s.policy.ghosts.add(hash, s.policy.epoch, s.policy.frequency(e))
	s.counts.evictions++
	if s.cache.config.OnEvict != nil {
		s.evicted = append(s.evicted, s.evictedAt(p, e))
	}
	s.drop(p, e, hash)
}

// drop removes the entry at a place.
func (s *shard) drop(p place, e entry, hash uint64) {
	if search, ok := s.findPlace(hash, p); ok {
		search.Remove()
	}
	s.kill(p, e)
}
