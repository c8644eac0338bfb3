package table

import "unsafe"

// insert makes a slot for a key that is not there. The caller must write the whole slot. insert fails, and
// changes no entry, if the arena is full.
func (t *typed[K, V]) insert(hash uint64) (*slot[K, V], error) {
	r := t.root
	if r.count >= r.expandAt {
		if err := t.expand(); err != nil {
			return nil, err
		}
	}
	number := r.leafIndex(hash)
	l := r.leafAt(number)
	for grown := false; l.count*loadPer >= l.groups*loadHigh && !(grown && l.count < l.groups*groupSlots); grown = true {
		if err := t.growLeaf(number); err != nil {
			return nil, err
		}
		number = r.leafIndex(hash)
		l = r.leafAt(number)
	}
	s := t.put(l, hash, farReach)
	if s == nil {
		t.relieve(number)
		l = r.leafOf(hash)
		s = t.put(l, hash, l.groups)
	}
	l.count++
	r.count++
	r.most = max(r.most, r.count)
	r.changes++
	return s, nil
}

// put makes a slot for an entry in the first group with room, of reach groups from its home on. It returns nil if none of them has room: then they say that it
// has passed them.
func (t *typed[K, V]) put(l *leaf, hash uint64, reach uint32) *slot[K, V] {
	r := t.root
	home := homeOf(hash, l.groups)
	for i := home; reach > 0; i, reach = l.after(i), reach-1 {
		g := r.group(l, i, t.slotSize)
		if free := g.free(); free != 0 {
			s := free.choose(hash, unsafe.Sizeof(slot[K, V]{}))
			g.set(s, hash, i != home)
			return slotAt[K, V](g, s)
		}
		g.setPassed(hash)
	}
	return nil
}

// remove removes an entry.
func (t *typed[K, V]) remove(hash uint64, p place) {
	r := t.root
	l := r.leafAt(p.number)
	p.g.clear(p.slot)
	if home := homeOf(hash, l.groups); home != p.i {
		t.unpass(l, p.number, home, p.i, hash)
	}
	l.count--
	r.count--
	r.changes++
	t.fillGaps(l, p.number, p.i)
	if block := uint32(1) << r.shift; l.count*loadPer < (l.groups-min(l.groups, 2*block))*loadLow || l.count == 0 {
		t.shrinkLeaf(p.number)
	}
}

// unpass is called when an entry with a hash has left group at for group home or for good: groups from home on, up to at, say that an entry of its
// kind has passed them only if another one has.
func (t *typed[K, V]) unpass(l *leaf, number, home, at uint32, hash uint64) {
	for i := home; i != at; i = l.after(i) {
		if !t.isPassed(l, number, i, hash) {
			t.root.group(l, i, t.slotSize).clearPassed(hash)
		}
	}
}

// isPassed tells whether an entry of the kind of a hash has passed a group. All groups between it and such an entry say that they are passed.
func (t *typed[K, V]) isPassed(l *leaf, number, at uint32, hash uint64) bool {
	r := t.root
	for i, distance := l.after(at), uint32(1); i != at; i, distance = l.after(i), distance+1 {
		g := r.group(l, i, t.slotSize)
		even, odd := g.words()
		for m := displacedKind(even, odd, hash); m != 0; m &= m - 1 {
			if distance == 1 {
				return true // as in findPassed
			}
			other := t.storedHash(slotAt[K, V](g, m.first()), g.tag(m.first()), uint64(number))
			if l.distance(homeOf(other, l.groups), i) >= distance {
				return true
			}
		}
		if !passes(odd, hash) {
			break
		}
	}
	return false
}

// fillReach is how many groups a deletion searches for an entry to fill a slot.
const fillReach = 8

// fillGaps moves entries that have passed a group into its free slots, but for one, then others to where these were, and so on. Without it entries
// would lie farther from their homes the longer the table lives. One slot stays free, for the next insertion: so most deletions move nothing.
func (t *typed[K, V]) fillGaps(l *leaf, number, at uint32) {
	size := unsafe.Sizeof(slot[K, V]{})
	for {
		g := t.root.group(l, at, size)
		free := g.free()
		if g.passed() == 0 || free&(free-1) == 0 {
			return
		}
		from, hash, ok := t.findPassed(l, number, at)
		if !ok {
			return
		}
		to := free.choose(hash, size)
		g.set(to, hash, homeOf(hash, l.groups) != at)
		*slotAt[K, V](g, to) = *slotAt[K, V](from.g, from.slot)
		from.g.clear(from.slot)
		t.unpass(l, number, at, from.i, hash)
		at = from.i
	}
}

// findPassed searches the next groups for an entry that has passed a group, and returns its hash, too.
func (t *typed[K, V]) findPassed(l *leaf, number, at uint32) (p place, hash uint64, ok bool) {
	for i, distance := l.after(at), uint32(1); i != at && distance <= fillReach; i, distance = l.after(i), distance+1 {
		g := t.root.group(l, i, unsafe.Sizeof(slot[K, V]{}))
		even, odd := g.words()
		for m := displacedSlots(even, odd); m != 0; m &= m - 1 {
			hash = t.storedHash(slotAt[K, V](g, m.first()), tagIn(even, odd, m.first()), uint64(number))
			if distance == 1 || l.distance(homeOf(hash, l.groups), i) >= distance { // what is displaced in the next group has passed this one
				return place{number, i, g, m.first()}, hash, true
			}
		}
		if g.passed() == 0 {
			break
		}
	}
	return place{}, 0, false
}

// distance returns how many groups lie between two groups of a leaf, around its end.
func (l *leaf) distance(from, to uint32) uint32 {
	if to >= from {
		return to - from
	}
	return to + l.groups - from
}

// clearAll removes all entries, and keeps their memory.
func (u *untyped) clearAll() {
	r := u.root
	for i := range r.leaves {
		l := r.leafAt(i)
		if l.groups == 0 {
			continue
		}
		groups := l.groups
		l.groups, l.count = 0, 0
		u.giveBlocks(l, groups>>r.shift)
	}
	r.count = 0
	r.changes++
	r.clears++
}
