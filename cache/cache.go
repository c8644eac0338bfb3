package cache

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/slab"
)

// The sizes of keys, values and Limits, in bytes.
const (
	MaxKey   = 64 << 10 // the longest key
	MaxValue = 1 << 30  // the longest value
	MinLimit = 1 << 20  // the smallest Limit
)

// ErrTooLarge is wrapped by the error of a Set whose key is longer than MaxKey, whose value is longer than MaxValue, or whose key and value take
// more than half of the Limit together.
var ErrTooLarge = errors.New("too large for the cache")

// Config says how a cache is opened. The zero Config is the default.
type Config struct {
	// Name is shown in errors, faults and /proc/PID/maps. Default "cache".
	Name string

	// Limit bounds the bytes that the cache commits (Stats.Committed), which the budget counts: entries, index, books,
	// and memory that is free for the next entries. Entries are evicted to stay within it; one that takes more than half of it is
	// refused. Committed stays a 64th below it, for the cache's books on the Go heap. Some two thirds to four fifths are keys, values and
	// their headers when the cache evicts; half, if a few values are much larger than the others, and have more than 16 KiB. The default, 0, is no limit: then nothing is evicted, and Set fails where the process has no
	// memory. A negative Limit is an error, and so is one below MinLimit.
	//
	// A cache has a shard, with a lock of its own, for each 4 MiB of its Limit, up to 128. A cache of a few MiB for many processors
	// may wait for locks.
	Limit int

	// OnEvict is called with the key and the value of each entry that is evicted to make room: not for entries that
	// expire, are deleted or replaced. The slices are valid until it returns, and must not be written to. No lock is held:
	// OnEvict may call the cache, but if it sets as much as is evicted there is no end to it. It runs on a goroutine that sets
	// or reads, soon after the eviction: a call later, if OnEvict runs already. Default none.
	OnEvict func(key, value []byte)
}

// Cache maps keys to values, both of bytes, outside the Go heap. Open makes one: the methods of a zero or nil Cache panic with
// a *guard.Violation. Any number of goroutines may call all methods at once. It must not be copied.
type Cache struct {
	_      nocopy.NoCopy
	seed   maphash.Seed
	shards []shard
	mask   uint64
	base   unsafe.Pointer

	segments    segments
	segmentSize int // bytes
	mostInLog   int // granules of an entry; larger ones lie apart
	reserve     int

	heap   *slab.Heap
	config Config
	opened time.Time
	clock  func() int64  // of tests; nil for the system's
	users  atomic.Int64  // of the heap: one as long as the cache is open. See enter
	held   atomic.Int64  // bytes of segments and of objects apart
	victim atomic.Uint32 // the shard that is to give memory to others
	closed atomic.Bool
}

// Open opens a cache. It reserves addresses; memory is committed as entries come. The error wraps guard.ErrNoMemory where
// the system refuses the addresses.
//
// Cost: some milliseconds. Keep a cache for as long as the program runs.
func Open(config Config) (*Cache, error) {
	if config.Name == "" {
		config.Name = "cache"
	}
	if config.Limit != 0 && config.Limit < MinLimit {
		return nil, fmt.Errorf("cache: open %q: the Limit of %d bytes is below %d", config.Name, config.Limit, MinLimit)
	}
	heap, err := slab.Open(slab.Config{Name: config.Name, Reserve: reserveFor(config.Limit), Limit: config.Limit - config.Limit/booksShare, LimitCommitted: config.Limit > 0, HugePages: config.Limit == 0 || config.Limit >= leastForHuge})
	if err != nil {
		return nil, fmt.Errorf("cache: open %q: %w", config.Name, err)
	}
	c := &Cache{seed: maphash.MakeSeed(), heap: heap, base: heap.Base(), config: config, opened: time.Now()}
	c.reserve = int(min(heap.Stats().Reserved, 1<<36))
	n := mostShards
	c.segmentSize = mostSegment
	if config.Limit > 0 {
		n = min(n, floor(max(config.Limit/leastPerShard, 1)))
		c.segmentSize = min(max(floor(config.Limit/n/segmentsPerShard), leastSegment), mostSegment)
	}
	c.mostInLog = c.segmentSize / granule / 4
	c.mask = uint64(n - 1)
	c.segments.open(c.reserve, c.segmentSize)
	c.shards = make([]shard, n)
	for i := range c.shards {
		s := &c.shards[i]
		s.cache = c
		s.index.Open(c.base)
		s.rehash = func(p place) uint64 { return c.hash(s.keyOf(c.at(p))) }
	}
	c.users.Store(1)
	return c, nil
}

const (
	booksShare       = 64       // this part of the Limit is for books on the Go heap: of leaves of the index, segments, objects apart
	leastForHuge     = 64 << 20 // bytes of the Limit
	mostShards       = 128
	leastPerShard    = 4 << 20 // bytes of the Limit
	segmentsPerShard = 64      // at least, if segments are not the smallest
)

// reserveFor returns the addresses to reserve for a Limit, of which the heap keeps books on the Go heap; 0 for the heap's default.
func reserveFor(limit int) int {
	const least, most = 64 << 20, 256 << 20 << (^uint(0) >> 63 * 7) // 32 GiB where addresses have 64 bits
	if limit == 0 || limit > most/4 {
		return 0
	}
	return max(4*limit, least)
}

// floor returns the largest power of two that is at most n.
func floor(n int) int { return 1 << (bits.Len(uint(n)) - 1) }

// shardOf returns the shard of a key, and its hash.
func (c *Cache) shardOf(op string, key []byte) (s *shard, hash uint64) {
	if c == nil || len(c.shards) == 0 {
		unopened(op)
	}
	hash = c.hash(key)
	return &c.shards[hash&c.mask], hash
}

// lockAndFind locks the shard of a key, and searches there. ok is false if the key is not there, or the cache is closed. Caller unlocks the shard.
func (c *Cache) lockAndFind(op string, key []byte) (s *shard, l live, ok bool) {
	s, hash := c.shardOf(op, key)
	s.mu.Lock()
	if !s.closed {
		l, ok = s.find(hash, key)
	}
	return s, l, ok
}

// unopened panics for a nil or zero Cache.
func unopened(op string) {
	panic(&guard.Violation{Op: "cache." + op, Kind: guard.ZeroValue, Detail: "cache.Open makes a Cache"})
}

// errClosed returns the error of a call after Close.
func (c *Cache) errClosed(op string) error {
	return fmt.Errorf("cache: %s %q: %w", op, c.config.Name, guard.ErrClosed)
}

// Get appends the value of key to dst and returns the result; ok is false, and dst as it was, if key is not there.
//
// Cost: two cache misses, for the index and the entry, and the copy. Values of more than 4 KiB are copied without a lock.
func (c *Cache) Get(dst, key []byte) (value []byte, ok bool) {
	s, hash := c.shardOf("Get", key)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return dst, false
	}
	l, ok := s.find(hash, key)
	if !ok {
		s.misses++
		s.unlock()
		return dst, false
	}
	s.hits++
	s.hit(l.place, l.entry)
	if v := s.valueOf(l.entry); len(v) <= mostUnderLock {
		dst = append(dst, v...)
		s.mu.Unlock()
		return dst, true
	}
	held := s.pin(l.place, l.entry)
	s.mu.Unlock()
	defer s.release(held)
	_, v := s.pinned(held)
	return append(dst, v...), true
}

// mostUnderLock is the most bytes that are copied under a lock.
const mostUnderLock = 4 << 10

// Set sets the value of key, without a time to live. It copies both. The error wraps ErrTooLarge if they are too large,
// guard.ErrNoMemory if there is no memory, and guard.ErrClosed after Close; then the cache has what it had.
//
// Cost: as a Get. At the Limit it looks at up to eight entries in the order of the log, and evicts some of them.
func (c *Cache) Set(key, value []byte) error { return c.set("Set", key, value, 0) }

// SetTTL sets the value of key for a time: ttl after the call the entry has expired; with Forever, or more than 292 years after Open, it never does. With ttl at or
// below 0 it deletes key. Otherwise it is Set.
func (c *Cache) SetTTL(key, value []byte, ttl time.Duration) error {
	if c == nil || len(c.shards) == 0 {
		unopened("SetTTL")
	}
	if ttl <= 0 {
		c.Delete(key)
		if c.closed.Load() {
			return c.errClosed("set")
		}
		return nil
	}
	return c.set("SetTTL", key, value, c.deadlineOf(ttl))
}

// set sets the value of key until a point in time, 0 for ever.
func (c *Cache) set(op string, key, value []byte, deadline int64) error {
	s, hash := c.shardOf(op, key)
	return c.store(s, &change{item: item{hash: hash, key: key, value: value, deadline: deadline}})
}

// store makes a change that may need an object apart.
func (c *Cache) store(s *shard, ch *change) error {
	if c.isLarge(ch.key, ch.value) {
		return c.storeApart(s, ch)
	}
	return c.put(s, ch)
}

// put makes a change whose object apart, if it needs one, is there.
func (c *Cache) put(s *shard, ch *change) error {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return c.errClosed(ch.kind.String())
		}
		what := s.apply(ch)
		s.unlock()
		if what == nothing {
			return nil
		}
		if err := c.provideFor(s, what, ch.kind.String()); err != nil {
			return err
		}
	}
}

// isLarge tells whether an entry does not fit into the log: it lies apart.
func (c *Cache) isLarge(key, value []byte) bool {
	return len(key)+len(value) >= (c.mostInLog-2)*granule
}

// storeApart is store for an item that is too large for the log.
func (c *Cache) storeApart(s *shard, ch *change) error {
	n := len(ch.key) + len(ch.value)
	switch {
	case len(ch.key) > MaxKey:
		return c.errTooLarge(ch.kind.String(), "a key", len(ch.key), MaxKey)
	case len(ch.value) > MaxValue:
		return c.errTooLarge(ch.kind.String(), "a value", len(ch.value), MaxValue)
	case c.config.Limit > 0 && n > c.largest():
		return c.errTooLarge(ch.kind.String(), "an entry", n, c.largest())
	}
	if !c.enter() {
		return c.errClosed(ch.kind.String())
	}
	defer c.leave()
	var b []byte
	err := c.makeRoom(s, func() (done bool, err error) {
		b, err = c.heap.TryAllocDirty(n, granule)
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("cache: %v: %w", ch.kind, err)
	}
	copy(b[copy(b, ch.key):], ch.value)
	s.mu.Lock()
	ch.number = s.addApart(b, len(ch.key)) + 1
	s.mu.Unlock()
	if err = c.put(s, ch); err != nil {
		s.mu.Lock()
		s.forgo(&ch.item)
		s.unlock()
	}
	return err
}

// largest returns the size in bytes of the largest entry that fits into the Limit.
func (c *Cache) largest() int { return c.config.Limit / 2 }

// Delete removes key, and tells whether it was there.
func (c *Cache) Delete(key []byte) bool {
	s, l, ok := c.lockAndFind("Delete", key)
	if ok {
		s.counts.deletes++
		s.remove(&l)
	}
	s.unlock()
	return ok
}

// Len returns the number of entries, those included that have expired and were not met since. After Close it is 0.
func (c *Cache) Len() (n int) {
	if c == nil || len(c.shards) == 0 {
		unopened("Len")
	}
	c.eachOpen(func(s *shard) { n += s.index.Len() })
	return n
}

// eachOpen calls f for one shard after the other, under its lock, unless the cache is closed.
func (c *Cache) eachOpen(f func(s *shard)) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		if !s.closed {
			f(s)
		}
		s.mu.Unlock()
	}
}

// Close gives all memory back. Calls that come later miss, or return an error that wraps guard.ErrClosed, as a second
// Close does. If a View, an Update, a Get of a large value, a loop or OnEvict is at work, the memory goes back when the last
// of them ends: Close does not wait for them, so they may call it. After another error the cache is closed, but the kernel
// refused to take some memory: call Close again to try that once more.
func (c *Cache) Close() error {
	if c == nil || len(c.shards) == 0 {
		unopened("Close")
	}
	if c.closed.Swap(true) {
		if c.users.Load() > 0 {
			return c.errClosed("close")
		}
		err := c.heap.Close() // again, if the kernel refused before
		switch {
		case errors.Is(err, guard.ErrClosed):
			return c.errClosed("close")
		case err != nil:
			return fmt.Errorf("cache: close %q: %w", c.config.Name, err)
		}
		return nil
	}
	c.eachOpen(func(s *shard) { s.closed = true })
	if err := c.leave(); err != nil {
		return fmt.Errorf("cache: close %q: %w", c.config.Name, err)
	}
	return nil
}
