package cache

import (
	"iter"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cache/internal/index"
)

// Cursor is a place in the order in which Scan goes through a cache. The zero Cursor is the beginning, and the end.
//
//	63     54 53    48 47                16 15        0
//	┌────────┬────────┬────────────────────┬───────────┐
//	│ shard  │ depth  │        leaf        │    tag    │   see index.Pos
//	└────────┴────────┴────────────────────┴───────────┘
type Cursor uint64

func cursorOf(shard int, p index.Pos) Cursor {
	return Cursor(shard)<<54 | Cursor(p.Depth)<<48 | Cursor(p.Leaf)<<16 | Cursor(p.Tag)
}

// split returns the shard of a cursor, and the place in its index.
func (c Cursor) split() (shard int, p index.Pos) {
	return int(c >> 54), index.Pos{Leaf: uint32(c >> 16), Depth: min(uint8(c>>48&63), 32), Tag: uint16(c)}
}

// found is an entry that an iteration has met: pinned, with its deadline.
type found struct {
	pin
	deadline int64 // ns since Open; 0 for none
}

// next pins the entries behind a cursor, some 50, and returns the cursor behind them, zero after the last one of the cache.
func (c *Cache) next(at Cursor, into []found) (s *shard, all []found, behind Cursor) {
	number, pos := at.split()
	if number >= len(c.shards) {
		return nil, nil, 0
	}
	s = &c.shards[number]
	now := c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, 0
	}
	pos, more := s.walk(pos, func(p place) {
		f := found{}
		e := c.at(p)
		if e.hasTTL() {
			if f.deadline = e.deadline(); f.deadline <= now {
				return
			}
		}
		f.pin = s.pin(p, e)
		into = append(into, f)
	})
	if !more {
		if number++; number == len(c.shards) {
			return s, into, 0
		}
	}
	return s, into, cursorOf(number, pos)
}

// walk calls visit for the places of the next entries, some 50, as index.Walk does. It reads their first and their last bytes ahead: the processor waits for
// many of these cache misses at a time, as no load depends on another. Caller holds s.mu.
func (s *shard) walk(pos index.Pos, visit func(place)) (next index.Pos, more bool) {
	places := s.places[:0]
	next, more = s.index.Walk(pos, s.rehash, func(p place) { places = append(places, p) })
	s.places = places
	sum := uint64(0)
	for _, p := range places {
		sum += *s.cache.at(p).head()
	}
	for _, p := range places {
		e := s.cache.at(p)
		sum += uint64(*(*byte)(unsafe.Add(e.p, e.granules()*granule-1)))
	}
	s.ahead = sum
	for _, p := range places {
		visit(p)
	}
	return next, more
}

// unpinAll unpins entries of the shard.
func (s *shard) unpinAll(all []found) {
	if len(all) == 0 {
		return
	}
	s.mu.Lock()
	last := false
	for i := range all {
		last = s.unpin(all[i].pin) || last
	}
	s.unlock()
	if last {
		_ = s.cache.leave()
	}
}

// each calls yield for the entries behind a cursor; false if yield has returned false.
func (c *Cache) each(at Cursor, buffer []found, yield func(key, value []byte) bool) (n int, behind Cursor, ok bool) {
	s, all, behind := c.next(at, buffer)
	if s == nil {
		return 0, 0, true
	}
	defer s.unpinAll(all)
	for i := range all {
		if !yield(s.pinned(all[i].pin)) {
			return i, at, false
		}
	}
	return len(all), behind, true
}

// All iterates over the entries, in no order that means anything. The key and the value are valid, and do not change, until the
// loop's next step, and must not be written to. No lock is held meanwhile: the loop may call the cache, and others may.
//
// An entry that is there all the time comes once. One that is set, replaced, deleted or evicted meanwhile may come or not, as
// it was at some moment of the loop. Expired ones do not come. After Close the loop ends.
//
// Cost: the cache misses of a Get for each entry. The memory of some 50 entries is kept at a time, with up to 64 KiB around
// each.
func (c *Cache) All() iter.Seq2[[]byte, []byte] {
	if c == nil || len(c.shards) == 0 {
		unopened("All")
	}
	return func(yield func(key, value []byte) bool) {
		var buffer []found
		at := Cursor(0)
		for {
			_, behind, ok := c.each(at, buffer[:0], yield)
			if at = behind; !ok || at == 0 {
				return
			}
		}
	}
}

// Scan iterates over the next n entries, or some 50 more, from a Cursor on, and moves the Cursor behind them; n below 1 is 1. The zero Cursor is
// the beginning; it is zero again after the last entry:
//
//	for {
//		for key, value := range c.Scan(&cursor, 1000) {
//			…
//		}
//		if cursor == 0 {
//			break
//		}
//	}
//
// What All promises holds from the first call to the last. A loop that is left by break leaves the Cursor before the last few
// entries, which come again. A Cursor is valid for the cache that it is of, as long as that is open; after a Reset it goes on
// among the new entries.
func (c *Cache) Scan(at *Cursor, n int) iter.Seq2[[]byte, []byte] {
	if c == nil || len(c.shards) == 0 {
		unopened("Scan")
	}
	return func(yield func(key, value []byte) bool) {
		var buffer []found
		for seen := 0; ; {
			more, behind, ok := c.each(*at, buffer[:0], yield)
			if seen, *at = seen+more, behind; !ok || behind == 0 || seen >= n {
				return
			}
		}
	}
}
