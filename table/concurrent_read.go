package table

import "unsafe"

// mostTries is how often a search without the lock begins anew before it takes the lock.
const mostTries = 20

// Get returns a copy of the value of k, and whether k is there.
//
// Cost: that of Map.Get, and two loads of the shard's counter. It takes no lock, and writes nothing that
// goroutines share, so it scales with the processors.
func (c *Concurrent[K, V]) Get(k K) (v V, ok bool) {
	if c.locks == nil {
		panic(zeroUse("Concurrent"))
	}
	var hash uint64
	if c.hasher.kind == byParts {
		hash = c.seed.parts(unsafe.Pointer(&k), c.hasher.parts)
	} else {
		switch p := unsafe.Pointer(&k); unsafe.Sizeof(k) { // a constant
		case 4:
			hash = c.seed.word(load4(p, 0))
		case 8:
			if unsafe.Alignof(k) == 8 {
				hash = c.seed.word(*(*uint64)(p)) // load8 would keep the key in memory
			} else {
				hash = c.seed.word(load8(p, 0))
			}
		case 16:
			hash = c.seed.pair(load8(p, 0), load8(p, 8))
		default:
			hash = c.seed.bytes(p, unsafe.Sizeof(k))
		}
	}
	// The first step of find, in a function without loops and calls.
	shard := c.shardOf(hash)
	lock, r := &c.locks[shard], c.rootOf(shard)
	counter := lock.counter.Load()
	if counter&1 != 0 {
		return c.find(hash, k) // the arena may have ended the table
	}
	l, groups, shift := r.leafOfAny(hash)
	g := groupAt(unsafe.Pointer(r), l, inLeaf(homeOf(hash, groups), shift), shift, unsafe.Sizeof(slot[K, V]{}))
	if lock.changedSince(counter) {
		return c.find(hash, k)
	}
	even, odd := g.words()
	for m := matching(even, odd, tagOf(hash)*lowBits); m != 0; m &= m - 1 {
		if e := slotAt[K, V](g, m.first()); e.key == k {
			v = e.value
			if lock.changedSince(counter) {
				return c.find(hash, k)
			}
			return v, true
		}
	}
	if passes(odd, hash) || lock.changedSince(counter) {
		return c.find(hash, k)
	}
	return v, false
}

// HashOf returns the hash of a key, for GetHashed. It is valid for this table.
func (c *Concurrent[K, V]) HashOf(k K) uint64 {
	c.mustBeMade()
	return c.hash(&k)
}

// GetHashed is Get for a program that has the hash of k, from HashOf.
func (c *Concurrent[K, V]) GetHashed(hash uint64, k K) (v V, ok bool) {
	if c.locks == nil {
		panic(zeroUse("Concurrent"))
	}
	return c.find(hash, k)
}

// find searches for a key with a hash, without the lock. Meanwhile the shard may change, so what it reads may be of different
// moments. It dereferences nothing but
//
//   - the root, which stays where it is;
//   - a leaf at an index that some number of leaves allows, in an array of leaves that the shard has or had: arrays that come
//     later lie higher in the arena and are larger, so even an index of a later one is in memory of the arena;
//   - groups of a leaf, if the counter says that the shard has not changed since find began: then root and leaf are of one moment. It may
//     change while the group is read. Its memory may become one of another leaf then, but stays memory of the arena.
//
// What it found counts if the shard has not changed until it was copied.
func (c *Concurrent[K, V]) find(hash uint64, k K) (v V, ok bool) {
	shard := c.shardOf(hash)
	lock, r := &c.locks[shard], c.rootOf(shard)
again:
	for tries := range mostTries {
		counter := lock.counter.Load()
		if counter&1 != 0 {
			pause(min(tries, 12))
			continue
		}
		l, groups, shift := r.leafOfAny(hash)
		home := homeOf(hash, groups)
		pattern := tagOf(hash) * lowBits
		for i := home; ; {
			g := groupAt(unsafe.Pointer(r), l, inLeaf(i, shift), shift, unsafe.Sizeof(slot[K, V]{}))
			if lock.changedSince(counter) {
				continue again
			}
			even, odd := g.words()
			for m := matching(even, odd, pattern); m != 0; m &= m - 1 {
				if e := slotAt[K, V](g, m.first()); e.key == k {
					v = e.value
					if lock.changedSince(counter) {
						continue again
					}
					return v, true
				}
			}
			if i++; i == groups {
				i = 0
			}
			if !passes(odd, hash) || i == home {
				if lock.changedSince(counter) {
					continue again
				}
				var none V
				return none, false
			}
			pattern |= displacedTags
		}
	}
	return c.findLocked(shard, hash, k)
}

// leafOfAny returns the leaf of a hash, its groups and the shift of its blocks, in a root that may be changing. See find.
func (r *root) leafOfAny(hash uint64) (l *leaf, groups, shift uint32) {
	mask := r.mask
	i := leafBits(hash) & mask
	if i >= r.leaves {
		i &= mask >> 1
	}
	l = r.leafAt(i)
	return l, l.groups, r.shift & 31
}

// inLeaf returns the number of a group, or that of another one if a leaf cannot have so many.
func inLeaf(i, shift uint32) uint32 { return min(i, leafBlocks<<shift-1) }

// findLocked is find with the lock.
//
//go:noinline
func (c *Concurrent[K, V]) findLocked(shard uint32, hash uint64, k K) (v V, ok bool) {
	counter := c.locks[shard].lock(c.supply)
	p, ok := c.shards[shard].locate(hash, k)
	if ok {
		v = slotAt[K, V](p.g, p.slot).value
	}
	c.locks[shard].unlockUnchanged(counter)
	return v, ok
}

// GetBatch sets values[i] to the value of keys[i], and found[i] to whether it is there, for all keys; values[i] is zero if
// it is not. found may be nil. It returns how many keys are there. If values, or a found that is not nil, is shorter than keys, that is Go's
// own panic, and nothing has been set.
//
// It overlaps the cache misses of many searches, so it is faster than as many calls of Get in a table that is larger than the
// processor's caches. Each key is searched for at a moment of its own.
func (c *Concurrent[K, V]) GetBatch(keys []K, values []V, found []bool) (hits int) {
	c.mustBeMade()
	return inBatches(keys, values, found, c.getBatch)
}

// getBatch searches at most batchSize keys. Each loop touches the memory that the next one needs, without waiting for it. What
// cannot be answered at the first look is left to find.
func (c *Concurrent[K, V]) getBatch(keys []K, values []V, found []bool) (hits int) {
	type search struct {
		group
		lock    *shardLock
		counter uint64
		hash    uint64
		slots   slotSet // with the key's tag
	}
	var searches [batchSize]search
	size := unsafe.Sizeof(slot[K, V]{})
	for i := range keys {
		s := &searches[i]
		s.hash = c.hash(&keys[i])
		shard := c.shardOf(s.hash)
		r := c.rootOf(shard)
		s.lock = &c.locks[shard]
		if s.counter = s.lock.counter.Load(); s.counter&1 != 0 {
			continue // the arena may have ended the table
		}
		l, groups, shift := r.leafOfAny(s.hash)
		s.group = groupAt(unsafe.Pointer(r), l, inLeaf(homeOf(s.hash, groups), shift), shift, size)
		if s.lock.changedSince(s.counter) {
			s.header = nil
		}
	}
	for i := range keys {
		if s := &searches[i]; s.header != nil {
			even, odd := s.words()
			s.slots = matching(even, odd, tagOf(s.hash)*lowBits)
		}
	}
	var touched byte
	for i := range keys {
		if s := &searches[i]; s.slots != 0 {
			touched |= *(*byte)(s.at(s.slots.first(), size))
		}
	}
	sink(touched)
	for i := range keys {
		s := &searches[i]
		ok := false
		for set := s.slots; set != 0 && !ok; set &= set - 1 {
			if e := slotAt[K, V](s.group, set.first()); e.key == keys[i] {
				values[i], ok = e.value, true
			}
		}
		if s.header == nil || !ok && passes(s.header[1], s.hash) || s.lock.changedSince(s.counter) {
			values[i], ok = c.find(s.hash, keys[i])
		} else if !ok {
			clear(values[i : i+1])
		}
		if ok {
			hits++
		}
		if found != nil {
			found[i] = ok
		}
	}
	return hits
}
