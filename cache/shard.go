package cache

import (
	"hash/maphash"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cache/internal/index"
)

// shard has the entries whose hashes end in certain bits: an index, and a log.
//
//	index  ──▶ places
//	             │         tail                               head
//	log          ▼        ┌─────────┬─────────┬─ ─ ─┬─────────┐
//	       small queue    │ segment │ segment │     │ segment │ ◀── new entries
//	                      └─────────┴─────────┴─ ─ ─┴─────────┘
//	                      ┌─────────┬─────────┬─ ─ ─┬─────────┐
//	       main queue     │ segment │ segment │     │ segment │ ◀── entries that stay
//	                      └─────────┴─────────┴─ ─ ─┴─────────┘
//	       spare segments
//
// Its lock guards all of it, and the bytes of its entries. Under the lock a goroutine neither calls the heap nor code of the
// user: a call that needs memory returns what it needs, and its caller provides that without the lock. Memory that becomes
// free waits in trash until a caller without the lock gives it back.
type shard struct {
	// What each Get writes is one CPU cache line, and what it reads of the index another: a processor to which a shard's lock comes from another one waits
	// for few lines.
	mu       sync.Mutex
	cache    *Cache
	closed   bool
	full     bool  // the heap has refused memory: entries are evicted before it is needed
	untilTry uint8 // segments to open before the heap is asked for memory
	hits     int
	misses   int
	policy   policy
	_        [8]byte

	index    index.Index
	chunks   []uint32 // of the index: offsets, in granules
	retiring uint32   // the number, plus 1, of the chunk that the index is to leave

	counts   counts
	queues   [2]queue
	segments int // of the queues, spare, trash and doomed
	spares   list
	trash    list     // segments for the heap
	scrap    []uint32 // chunks for the heap

	apart     []apartObject
	freeApart uint32 // the first that is free, plus 1
	deadApart uint32 // the first whose memory is for the heap, plus 1

	repackHand uint32 // the object that repack moved last

	compacting  uint32 // the number, plus 1, of the segment that compact works on
	compactHand uint32
	compactFrom uint32    // the number, plus 1, of the segment that chooseDeadest looks at next
	evicted     []evicted // entries that OnEvict is to be called for
	calling     int       // calls of OnEvict that run
	pins        int

	withTTL    int    // entries
	expireAt   uint32 // the number, plus 1, of the segment that expireSome looks at
	expireHand uint32 // granules of it that were looked at

	places []place // of walk
	ahead  uint64  // what was read ahead of need: so the compiler does not leave it out

	rehash func(place) uint64
	_      [96]byte
}

// need names the memory that a call lacks.
type need uint8

const (
	nothing      need = iota
	needsSegment      // a segment
	needsChunk        // memory for the index
	needsGhosts       // memory for ghosts
)

// live is a key that was found: where its entry is, and in the index.
type live struct {
	search index.Search
	place  place
	entry  entry
}

// hash returns the hash of a key.
func (c *Cache) hash(key []byte) uint64 { return maphash.Bytes(c.seed, key) }

// keyOf returns the key of an entry.
func (s *shard) keyOf(e entry) []byte {
	if e.isApart() {
		return s.apartKey(e.number())
	}
	return e.key()
}

// valueOf returns the value of an entry.
func (s *shard) valueOf(e entry) []byte {
	if e.isApart() {
		return s.apartValue(e.number())
	}
	return e.value()
}

// find searches for a key. ok is false if it is not there; one that has expired is removed. Caller holds s.mu.
func (s *shard) find(hash uint64, key []byte) (l live, ok bool) { return s.findToWrite(hash, key, 0) }

// findToWrite is find for a caller that will write some granules over the entry: it reads them ahead, so that the processor waits for the cache misses of
// the key and of what is written at once. Else the stores wait for the key, and the unlock for the stores.
func (s *shard) findToWrite(hash uint64, key []byte, granules int) (l live, ok bool) {
	l.search = s.index.Find(hash)
	for {
		p, found := l.search.Next()
		if !found {
			return l, false
		}
		e := s.cache.at(p)
		s.readAhead(p, e, granules)
		if e.isApart() {
			if string(s.apartKey(e.number())) != string(key) {
				continue
			}
		} else if string(e.key()) != string(key) {
			continue
		}
		l.place, l.entry = p, e
		if e.hasTTL() && e.deadline() <= s.cache.now() {
			s.expire(&l)
			return l, false
		}
		return l, true
	}
}

// readAhead reads from the CPU cache lines behind the first one of some granules at a place, as far as they are in its segment.
func (s *shard) readAhead(p place, e entry, granules int) {
	in := 1<<s.cache.segments.shift - int(p&(1<<s.cache.segments.shift-1))
	n := min(granules, in, mostReadAhead) * granule
	for off := line; off < n; off += line {
		s.ahead += uint64(*(*byte)(unsafe.Add(e.p, off)))
	}
	if n > line {
		s.ahead += uint64(*(*byte)(unsafe.Add(e.p, n-1))) // entries do not begin where lines do
	}
}

const (
	line          = 64
	mostReadAhead = 16 // granules; the processor itself reads ahead in longer ones
)

// findPlace searches for the slot of the entry at a place. Caller holds s.mu.
func (s *shard) findPlace(hash uint64, at place) (search index.Search, ok bool) {
	search = s.index.Find(hash)
	for {
		p, found := search.Next()
		if !found || p == at {
			return search, found
		}
	}
}

// kill marks the entry at a place as dead: nobody finds it any more. Caller holds s.mu.
func (s *shard) kill(p place, e entry) {
	t := &s.cache.segments
	n := p >> t.shift
	seg := t.at(n)
	size := uint32(e.granules())
	if e.hasTTL() {
		s.withTTL--
	}
	if e.isApart() {
		s.queues[seg.queue].apart -= s.apartGranules(e.number())
		s.dropApart(e.number())
	}
	s.left(e, seg.queue)
	*e.head() |= deadBit
	seg.dead += size
	q := &s.queues[seg.queue]
	q.live -= int(size)
	s.counts.dead += int(size)
	if seg.dead == seg.used {
		s.emptied(n, seg)
	}
}

// emptied takes a segment without live entries out of its queue. Caller holds s.mu.
func (s *shard) emptied(n uint32, seg *segment) {
	q := &s.queues[seg.queue]
	s.counts.dead -= int(seg.dead - first(n))
	if q.tail == n+1 {
		q.hand = 0
	}
	if s.compacting == n+1 {
		s.compacting = 0
	}
	if s.compactFrom == n+1 {
		s.compactFrom = seg.next
	}
	if s.expireAt == n+1 {
		s.expireAt, s.expireHand = seg.next, 0
	}
	if q.head == n+1 && seg.pins == 0 {
		seg.used, seg.dead = first(n), first(n) // still the youngest, and empty
		return
	}
	q.remove(&s.cache.segments, n)
	if seg.pins > 0 {
		seg.doomed = true
		return
	}
	s.discard(n)
}

// mostSpares is how many free segments a shard keeps when the cache is full: one for each queue.
const mostSpares = 2

// discard makes a segment without entries and pins a spare one, or trash. Caller holds s.mu.
func (s *shard) discard(n uint32) {
	t := &s.cache.segments
	*t.at(n) = segment{used: first(n), dead: first(n)}
	if s.full && !s.closed && s.spares.n < mostSpares {
		s.spares.push(t, n)
		return
	}
	s.trash.push(t, n)
}

// room finds room for an entry of some granules at the head of a queue; ok is false if a segment is needed.
// Caller holds s.mu.
func (s *shard) room(queue uint8, granules int) (p place, ok bool) {
	t, q := &s.cache.segments, &s.queues[queue]
	if q.head != 0 {
		seg := t.at(q.head - 1)
		if int(seg.used)+granules <= 1<<t.shift {
			p = (q.head-1)<<t.shift | seg.used
			seg.used += uint32(granules)
			q.live += granules
			return p, true
		}
	}
	if queue == small && !s.hasSpareToFill() {
		return 0, false
	}
	n, ok := s.spares.pop(t)
	if !ok {
		return 0, false
	}
	if s.untilTry > 0 && queue == small {
		s.untilTry--
	}
	seg := t.at(n)
	*seg = segment{used: first(n) + uint32(granules), dead: first(n), queue: queue}
	q.push(t, n)
	q.live += granules
	return n<<t.shift | first(n), true
}

// hasSpareToFill tells whether there is a spare segment for new entries. When memory is short one more is kept for entries that go to the
// main queue: without it they would have to be evicted, however frequent they are. Caller holds s.mu.
func (s *shard) hasSpareToFill() bool {
	return s.spares.n > 1 || s.spares.n == 1 && !s.full
}

// hasRoom tells whether room would find some.
func (s *shard) hasRoom(queue uint8, granules int) bool {
	t, q := &s.cache.segments, &s.queues[queue]
	return s.spares.n > 0 || q.head != 0 && int(t.at(q.head-1).used)+granules <= 1<<t.shift
}

// item is an entry that a call sets.
type item struct {
	hash       uint64
	key, value []byte
	deadline   int64  // ns since Open; 0 for none
	number     uint32 // plus 1, of the object that holds key and value apart; 0 for none
}

// granules returns the size of the entry in the log.
func (it *item) granules() int {
	if it.number != 0 {
		return sizeOf(numberSize, 0, it.deadline != 0)
	}
	return sizeOf(len(it.key), len(it.value), it.deadline != 0)
}

// write writes the item as an entry.
func (it *item) write(e entry, granules int) {
	flags := uint64(0)
	if it.deadline != 0 {
		flags |= ttlBit
	}
	if it.number != 0 {
		*e.head() = header(0, 0, granules, flags|apartBit)
		e.setNumber(it.number - 1)
	} else {
		*e.head() = header(len(it.key), len(it.value), granules, flags)
		copy(unsafe.Slice((*byte)(e.body()), len(it.key)), it.key)
		copy(e.value(), it.value)
	}
	if it.deadline != 0 {
		e.setDeadline(it.deadline)
	}
}

// write writes an item as the entry at a place, and counts it. Caller holds s.mu.
func (s *shard) write(it *item, e entry, granules int, queue uint8) {
	it.write(e, granules)
	if it.deadline != 0 {
		s.withTTL++
	}
	if it.number != 0 {
		s.apart[it.number-1].wait = false
		s.queues[queue].apart += s.apartGranules(it.number - 1)
	}
}

// change is what a call does to a key, and what came of it. It stays on the stack of the call, which a func value that takes it would prevent: a Set that
// leaves garbage takes a fourth longer.
type change struct {
	item
	kind kind
	keep bool  // updating: the key is to have the item, or else no entry
	done bool  // updating, adding, touching: what the key had allowed the change
	seen place // updating: of the entry that the user's func has seen; 0 if there was none

	delta, sum int64 // adding
	was        int   // adding: bytes of the value that was there
}

// kind says what a change does.
type kind uint8

const (
	setting kind = iota
	updating
	adding
	touching
)

// String returns the call, for errors.
func (k kind) String() string { return [...]string{"set", "update", "add", "touch"}[k] }

// apply makes a change, or returns what it lacks: then nothing has changed. Caller holds s.mu.
func (s *shard) apply(ch *change) need {
	switch ch.kind {
	case updating:
		return s.update(ch)
	case adding:
		return s.add(ch)
	case touching:
		return s.touch(ch)
	}
	return s.set(&ch.item)
}

// set sets an item, or returns what it lacks: then nothing has changed. Caller holds s.mu.
func (s *shard) set(it *item) need {
	l, ok := s.findToWrite(it.hash, it.key, it.granules())
	if ok {
		return s.replace(&l, it)
	}
	return s.insert(it)
}

// insert adds an item whose key is not there. Caller holds s.mu.
func (s *shard) insert(it *item) need {
	if !s.index.Ready() {
		return needsChunk
	}
	if s.full && s.policy.ghosts.lacks(s.index.Len()) {
		return needsGhosts
	}
	granules := it.granules()
	q := s.queueFor()
	p, ok := s.room(q, granules)
	if !ok {
		return needsSegment
	}
	e := s.cache.at(p)
	s.write(it, e, granules, q)
	s.index.Insert(it.hash, p, s.rehash)
	s.inserted(e, it.hash)
	s.counts.sets++
	s.tidy(granules)
	return nothing
}

// replace gives another value to an entry. Caller holds s.mu.
func (s *shard) replace(l *live, it *item) need {
	e, t := l.entry, &s.cache.segments
	granules, seg := it.granules(), t.of(l.place)
	ttl := it.deadline != 0
	if granules == e.granules() && seg.pins == 0 && it.number == 0 && !e.isApart() && ttl == e.hasTTL() {
		was := *e.head()
		it.write(e, granules)
		e.keepHits(was)
		s.hit(l.place, e)
		s.counts.sets++
		s.tidy(granules)
		return nothing
	}
	p, ok := s.room(seg.queue, granules)
	if !ok {
		return needsSegment
	}
	n := s.cache.at(p)
	s.write(it, n, granules, seg.queue)
	n.keepHits(*e.head())
	l.search.Set(p)
	s.joined(n, seg.queue)
	s.kill(l.place, e)
	s.hit(p, n)
	s.counts.sets++
	s.tidy(granules)
	return nothing
}

// remove removes an entry. Caller holds s.mu.
func (s *shard) remove(l *live) {
	l.search.Remove()
	s.kill(l.place, l.entry)
}

// move copies an entry to the head of a queue; ok is false if there is no room. The copy has its hits. Caller holds s.mu.
func (s *shard) move(p place, e entry, queue uint8) (n entry, ok bool) {
	granules := e.granules()
	to, ok := s.room(queue, granules)
	if !ok {
		return e, false
	}
	n = s.cache.at(to)
	copy(unsafe.Slice((*byte)(n.p), granules*granule), unsafe.Slice((*byte)(e.p), granules*granule))
	if search, ok := s.findPlace(s.rehash(p), p); ok {
		search.Set(to)
	}
	// The copy has the TTL, and what lies apart.
	if n.hasTTL() {
		s.withTTL++
	}
	if n.isApart() {
		s.queues[queue].apart += s.apartGranules(n.number())
		s.queues[s.cache.segments.of(p).queue].apart -= s.apartGranules(n.number())
	}
	*e.head() &^= apartBit
	s.joined(n, queue)
	s.kill(p, e)
	return n, true
}
