package table

import (
	"iter"
	"math/bits"
	"math/rand/v2"
)

// An iteration copies some entries of a shard while it has the lock, and hands them out without it. Its place is one in
// hashes, as that of a Map's iteration: so the shard may change meanwhile.

// spot is a place in the iteration of a shard: a stretch, and the class and upper half that come next in it.
type spot struct {
	s     stretch // of depth unknown if that is still to be asked of the shard
	class uint64
	from  uint64
}

const unknown = -1

// behind returns the spot behind a whole stretch; ok is false if that was the last one.
func (s stretch) behind() (next spot, ok bool) {
	end := uint64(s.first) + s.size()
	return spot{s: stretch{uint32(end), unknown}}, end < 1<<32
}

// next returns the spot behind the rest of a class; ok is false if that was the last one.
func (at spot) next() (next spot, ok bool) {
	if at.class++; at.class < classes {
		at.from = 0
		return at, true
	}
	return at.s.behind()
}

// randomSpot returns the spot of a random entry, or the first one if there are no entries.
func (t *typed[K, V]) randomSpot() spot {
	number, g, i, ok := t.randomSlot()
	if !ok {
		return spot{s: t.root.stretchAt(0)}
	}
	hash := t.storedHash(slotAt[K, V](g, i), g.tag(i), uint64(number))
	return spot{t.root.stretchAt(bits.Reverse32(number)), g.tag(i) >> classShift, hash >> 32}
}

// copier copies entries.
type copier[K comparable, V any] struct {
	walker  walker[K, V]
	entries []slot[K, V]
}

// copyBytes is about how many bytes of entries an iteration copies at a time.
const copyBytes = 16 << 10

// mostGroups returns how many groups an iteration takes at a time: of each, a 32nd of its entries comes.
func (t *typed[K, V]) mostGroups() uint64 {
	return min(max(copyBytes/uint64(max(t.slotSize, 1))*classes/groupSlots, 1), maxLeafGroups)
}

// copy copies the entries of one class from a spot on, which are in some number of groups or a few more, and whose upper halves are below end. It returns
// the spot behind them, in the same class. Caller holds the shard's lock.
func (b *copier[K, V]) copy(t *typed[K, V], at spot, groups, end uint64) spot {
	r := t.root
	upto := end
	if l := r.leafOf(uint64(bits.Reverse32(at.s.first))); l.groups > 0 {
		if next := uint64(homeOf(at.from<<32, l.groups)) + groups; next < uint64(l.groups) {
			upto = min(end, (l.firstHash(next)+shardStep-1)&^(shardStep-1))
		}
	}
	b.entries = b.entries[:0]
	if b.walker.t != t {
		b.walker.t = t
		b.walker.visit = func(e *slot[K, V]) bool {
			b.entries = append(b.entries, *e)
			return true
		}
	}
	b.walker.walk(at.s, at.class, at.from, upto, maxLeafGroups, maxLeafGroups, nil)
	at.from = upto
	return at
}

// forEach calls yield for every entry until yield returns false. It begins at a random entry, as that of Map does.
func (c *Concurrent[K, V]) forEach(yield func(e *slot[K, V]) bool) {
	first, ok := c.randomShard()
	if !ok {
		return
	}
	var b copier[K, V]
	counter := c.locks[first].lock(c.supply)
	begin := c.shards[first].randomSpot()
	c.locks[first].unlockUnchanged(counter)

	groups := uint64(1) // because programs that delete the first entry and stop need no more
	if !c.walkShard(&b, first, begin, nil, &groups, yield) {
		return
	}
	start := spot{s: stretch{0, unknown}}
	for i := range uint32(len(c.shards) - 1) {
		if !c.walkShard(&b, (first+1+i)&uint32(len(c.shards)-1), start, nil, &groups, yield) {
			return
		}
	}
	c.walkShard(&b, first, start, &begin, &groups, yield)
}

// walkShard calls yield for the entries of a shard from a spot on, up to another one, or the end if that is nil. It returns false if
// yield did. It takes *groups at a time at first, then more and more.
func (c *Concurrent[K, V]) walkShard(b *copier[K, V], shard uint32, at spot, to *spot, groups *uint64, yield func(e *slot[K, V]) bool) bool {
	lock, t := &c.locks[shard], &c.shards[shard]
	for {
		last := false // this is the stretch of to
		counter := lock.lock(c.supply)
		if at.s.depth == unknown {
			at.s = t.root.stretchAt(at.s.first)
		}
		end := uint64(1 << 32)
		if to != nil {
			for at.s.first < to.s.first && uint64(at.s.first)+at.s.size() > uint64(to.s.first) {
				at.s.depth++
			}
			if last = at.s.first == to.s.first; last {
				at.s = to.s
				if at.class == to.class {
					end = to.from
				}
			}
		}
		at = b.copy(t, at, *groups, end)
		lock.unlockUnchanged(counter)

		*groups = min(2*(*groups), t.mostGroups())
		for i := range b.entries {
			if !yield(&b.entries[i]) {
				return false
			}
		}
		if at.from < end {
			continue
		}
		if last && at.class == to.class {
			return true
		}
		var more bool
		if at, more = at.next(); !more {
			return true
		}
	}
}

// All iterates over copies of the entries, from a random one on, in an order that means nothing. No lock is held while the loop's body
// runs. The table may be changed meanwhile, by the body, too: an entry that is there all the time comes once, with the value
// of some moment; one that is inserted or deleted meanwhile may come or not. No key comes twice, except NaN.
func (c *Concurrent[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		c.mustBeMade()
		c.forEach(func(e *slot[K, V]) bool { return yield(e.key, e.value) })
	}
}

// Keys iterates over the keys as All does.
func (c *Concurrent[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		c.mustBeMade()
		c.forEach(func(e *slot[K, V]) bool { return yield(e.key) })
	}
}

// Values iterates over the values as All does.
func (c *Concurrent[K, V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		c.mustBeMade()
		c.forEach(func(e *slot[K, V]) bool { return yield(e.value) })
	}
}

// A Cursor of a Concurrent has a shard and a spot in it, whose upper half lacks its last bits:
//
//	63                            31      22                 0
//	first bits of stretch, 1, 0 … │ shard │ class │ upper half
//
// At the beginning of a shard all is 0 but the shard.
const (
	stretchBits  = 32                           // where the stretch begins
	shardBits    = 22                           // where the shard begins; the class is below
	shardUpper   = shardBits - (7 - classShift) // bits of the upper half
	shardStep    = 1 << (32 - shardUpper)
	shardNumbers = 1 << (stretchBits - shardBits)
	_            = uint(shardNumbers - mostShards) // all shards have numbers
)

// cursorAt returns the Cursor of a spot.
func (at spot) cursor(shard uint32) Cursor {
	top := uint64(0)
	if at.s.depth != unknown {
		top = uint64(at.s.first | 1<<(31-at.s.depth))
	}
	return Cursor(top<<stretchBits | uint64(shard)<<shardBits | at.class<<shardUpper | at.from/shardStep)
}

// spot returns the place of a Cursor of a Concurrent.
func (c Cursor) spot() (shard uint32, at spot) {
	shard = uint32(c>>shardBits) % shardNumbers
	top := uint32(c >> stretchBits)
	if top == 0 {
		return shard, spot{s: stretch{0, unknown}}
	}
	at.s = stretch{top & (top - 1), 31 - bits.TrailingZeros32(top)}
	at.class = uint64(c) >> shardUpper % classes
	at.from = uint64(c) % (1 << shardUpper) * shardStep
	return shard, at
}

// Scan iterates over the next n entries, or some more, from a Cursor on, and moves the Cursor behind them. The zero Cursor is the
// beginning; it is zero again after the last entry: see Map.Scan. A Cursor is for the table that it comes from; it may be stored.
//
// No lock is held while the loop's body runs. The table may be changed between the calls and meanwhile, by any goroutine. An entry that
// is there from the first call to the last comes, once. If the loop is left by break, the Cursor stays before the last few entries, which
// come again.
func (c *Concurrent[K, V]) Scan(cursor *Cursor, n int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		c.mustBeMade()
		var b copier[K, V]
		for {
			shard, at := cursor.spot()
			shard %= uint32(len(c.shards)) // whatever the cursor is of
			lock, t := &c.locks[shard], &c.shards[shard]
			counter := lock.lock(c.supply)
			if at.s.depth == unknown {
				at.s = t.root.stretchAt(at.s.first)
			}
			groups := min(uint64(max(n, 0))*classes/groupSlots+1, t.mostGroups())
			at = b.copy(t, at, groups, 1<<32)
			more := true
			if at.from == 1<<32 {
				at, more = at.next()
			}
			if !more {
				shard, at = (shard+1)%uint32(len(c.shards)), spot{s: stretch{0, unknown}}
			} else if at.s.depth == unknown {
				at.s = t.root.stretchAt(at.s.first)
			}
			next := at.cursor(shard)
			lock.unlockUnchanged(counter)
			for i := range b.entries {
				n--
				if !yield(b.entries[i].key, b.entries[i].value) {
					return // the cursor stays: these come again
				}
			}
			if *cursor = next; next == 0 || n <= 0 {
				return
			}
		}
	}
}

// Sample iterates over copies of n random entries, each as likely as any other at each step: so an entry may come several times.
// It is for programs that evict: they look at some entries and delete the worst. Of an empty table none comes. No lock is held
// while the loop's body runs.
func (c *Concurrent[K, V]) Sample(n int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		c.mustBeMade()
		for range n {
			e, ok := c.random()
			if !ok || !yield(e.key, e.value) {
				return
			}
		}
	}
}

// random returns a copy of a random entry; ok is false if there is none.
func (c *Concurrent[K, V]) random() (e slot[K, V], ok bool) {
	for {
		shard, some := c.randomShard()
		if !some {
			return e, false
		}
		counter := c.locks[shard].lock(c.supply)
		_, g, i, ok := c.shards[shard].randomSlot()
		if ok {
			e = *slotAt[K, V](g, i)
		}
		c.locks[shard].unlockUnchanged(counter)
		if ok {
			return e, true
		}
	}
}

// randomShard returns a random shard, each as likely as it has entries; ok is false if the table is empty.
func (c *Concurrent[K, V]) randomShard() (shard uint32, ok bool) {
	for tries := 0; ; tries++ {
		most := c.most.Load()
		if tries%16 == 15 || most == 0 {
			// The largest shard may have become smaller.
			most = 0
			for i := range c.shards {
				most = max(most, c.countOf(i))
			}
			if c.most.Store(most); most == 0 {
				return 0, false
			}
		}
		shard = rand.Uint32N(uint32(len(c.shards)))
		n := c.countOf(int(shard))
		if n > most {
			c.most.Store(n)
			continue
		}
		if rand.Uint64N(most) < n {
			return shard, true
		}
	}
}
