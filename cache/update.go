package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrNoNumber is wrapped by the error of an Add to a value that is not 8 bytes long.
var ErrNoNumber = errors.New("the value is no number of 8 bytes")

// Update replaces the value of key by what f returns, or deletes key if keep is false. f gets the value, and ok false if key
// is not there; then keep false does nothing. To leave a value as it is, f returns old. The entry keeps its time to live; a new
// one has none. The error is that of Set, after f has
// run.
//
// Update takes effect at one moment: if key has changed since f got the value, f is called again with the new one. So f may run
// several times. It must not write to old, which is valid until f returns; what f returns may be a part of old. No lock
// is held while f runs: f may call the cache, and may panic. If it always changes the key itself, Update never ends.
//
// Cost: as a View and a Set. The entry is written anew, and what it was is dead memory for a while.
func (c *Cache) Update(key []byte, f func(old []byte, ok bool) (value []byte, keep bool)) error {
	s, hash := c.shardOf("Update", key)
	if len(key) > MaxKey {
		return c.errTooLarge(updating.String(), "a key", len(key), MaxKey)
	}
	for {
		if done, err := c.update(s, hash, key, f); done || err != nil {
			return err
		}
	}
}

// update is one try of Update; done is false if key has changed meanwhile.
func (c *Cache) update(s *shard, hash uint64, key []byte, f func(old []byte, ok bool) (value []byte, keep bool)) (done bool, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false, c.errClosed("update")
	}
	ch := change{item: item{hash: hash, key: key}, kind: updating}
	var held pin
	l, ok := s.find(hash, key)
	if ok {
		if s.hits++; l.entry.hasTTL() {
			ch.deadline = l.entry.deadline()
		}
		held = s.pin(l.place, l.entry)
		ch.seen = held.place
	} else {
		s.misses++
	}
	s.unlock()
	var old []byte
	if ok {
		defer s.release(held)
		_, old = s.pinned(held)
	}
	if ch.value, ch.keep = f(old, ok); !ch.keep {
		ch.value = nil
	}
	err = c.store(s, &ch)
	return ch.done, err
}

// update makes the change of a try of Update, unless the key has another entry than the one that f has seen. Caller holds s.mu.
func (s *shard) update(ch *change) need {
	l, ok := s.find(ch.hash, ch.key)
	seen := place(0)
	if ok {
		seen = l.place
	}
	ch.done = seen == ch.seen // it may be false after it was true: the shard was not locked while memory was provided
	switch {
	case !ch.done:
	case ch.keep && ok:
		return s.replace(&l, &ch.item)
	case ch.keep:
		return s.insert(&ch.item)
	case ok:
		s.remove(&l)
		s.counts.deletes++
	}
	s.forgo(&ch.item)
	return nothing
}

// forgo gives up the memory of an item that is not set. Caller holds s.mu.
func (s *shard) forgo(it *item) {
	if it.number != 0 {
		s.dropApart(it.number - 1)
		it.number = 0
	}
}

// Add adds delta to the value of key, a number of 8 bytes in little-endian order, and returns the sum. It wraps around. A
// key that is not there counts as 0. The entry keeps its time to live; a new one has none. The error wraps ErrNoNumber if the value
// has another length, and is that of Set otherwise; then nothing has changed. Numbers that are written as text are for Update.
//
// Cost: as a Set.
func (c *Cache) Add(key []byte, delta int64) (sum int64, err error) {
	s, hash := c.shardOf("Add", key)
	var bytes [8]byte
	ch := change{item: item{hash: hash, key: key, value: bytes[:]}, kind: adding, delta: delta}
	if err := c.store(s, &ch); err != nil {
		return 0, err
	}
	if ch.done {
		return ch.sum, nil
	}
	return 0, fmt.Errorf("cache: add %q: a value of %d bytes: %w", c.config.Name, ch.was, ErrNoNumber)
}

// add makes the change of an Add; done is false if the value is no number. Caller holds s.mu.
func (s *shard) add(ch *change) need {
	l, ok := s.find(ch.hash, ch.key)
	ch.sum, ch.deadline, ch.done = ch.delta, 0, true
	if ok {
		v := s.valueOf(l.entry)
		if ch.was = len(v); len(v) != 8 {
			ch.done = false
			s.forgo(&ch.item)
			return nothing
		}
		ch.sum += int64(binary.LittleEndian.Uint64(v))
		if l.entry.hasTTL() {
			ch.deadline = l.entry.deadline()
		}
	}
	if binary.LittleEndian.PutUint64(ch.value, uint64(ch.sum)); ch.number != 0 {
		binary.LittleEndian.PutUint64(s.apartValue(ch.number-1), uint64(ch.sum))
	}
	if ok {
		return s.replace(&l, &ch.item)
	}
	return s.insert(&ch.item)
}

// Forever is a time to live without an end.
const Forever = time.Duration(math.MaxInt64)

// Touch gives key another time to live, from now on, and tells whether it is there. With ttl at or below 0 it deletes key. It
// counts as a hit for the eviction. Touch also returns false after Close, and where there is no memory: an entry that has no
// time to live yet is written anew.
func (c *Cache) Touch(key []byte, ttl time.Duration) bool {
	s, hash := c.shardOf("Touch", key)
	if ttl <= 0 {
		return c.Delete(key)
	}
	ch := change{item: item{hash: hash, key: key, deadline: c.deadlineOf(ttl)}, kind: touching}
	err := c.put(s, &ch)
	return ch.done && err == nil
}

// touch makes the change of a Touch; done is false if the key is not there. Caller holds s.mu.
func (s *shard) touch(ch *change) need {
	l, ok := s.find(ch.hash, ch.key)
	if ch.done = ok; !ok {
		return nothing
	}
	return s.retime(&l, ch.deadline)
}

// retime gives an entry another deadline. Caller holds s.mu.
func (s *shard) retime(l *live, deadline int64) need {
	e := l.entry
	if e.hasTTL() {
		e.setDeadline(deadline)
		s.hit(l.place, e)
		return nothing
	}
	it := item{key: s.keyOf(e), value: s.valueOf(e), deadline: deadline}
	if e.isApart() {
		it.number = e.number() + 1
	}
	granules, queue := it.granules(), s.cache.segments.of(l.place).queue
	p, ok := s.room(queue, granules)
	if !ok {
		return needsSegment
	}
	n := s.cache.at(p)
	s.write(&it, n, granules, queue)
	n.keepHits(*e.head())
	l.search.Set(p)
	s.joined(n, queue)
	if e.isApart() {
		s.queues[queue].apart -= s.apartGranules(e.number())
	}
	*e.head() &^= apartBit // the object stays, with the other entry
	s.kill(l.place, e)
	s.hit(p, n)
	s.tidy(granules)
	return nothing
}

// TTL returns the time that key has to live, Forever if it has no end, and whether it is there: what SetTTL and Touch take. It
// counts neither as a hit nor as a miss.
func (c *Cache) TTL(key []byte) (ttl time.Duration, ok bool) {
	s, l, ok := c.lockAndFind("TTL", key)
	defer s.unlock()
	switch {
	case !ok:
		return 0, false
	case !l.entry.hasTTL() || l.entry.deadline() == math.MaxInt64:
		return Forever, true
	}
	return max(time.Duration(l.entry.deadline()-s.cache.now()), 1), true
}
