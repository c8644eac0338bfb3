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
	l.count++
	r.count++
	r.most = max(r.most, r.count)
	r.changes++
	return t.put(l, hash), nil
}

// put makes a slot for an entry, in its home or in the next group with room. The leaf has room.
func (t *typed[K, V]) put(l *leaf, hash uint64) *slot[K, V] {
	r := t.root
	home := homeOf(hash, l.groups)
	for i := home; ; i = l.after(i) {
		g := r.group(l, i, t.slotSize)
		if free := g.free(); free != 0 {
			s := free.choose(hash, unsafe.Sizeof(slot[K, V]{}))
			g.set(s, hash, i != home)
			return slotAt[K, V](g, s)
		}
		g.setPassed(hash)
	}
}

// remove removes an entry.
func (t *typed[K, V]) remove(hash uint64, p place) {
	r := t.root
	l := r.leafAt(p.number)
	p.g.clear(p.slot)
	t.unpass(l, p.number, homeOf(hash, l.groups), p.i, hash)
	l.count--
	r.count--
	r.changes++
	if p.g.passed() != 0 {
		t.fillGap(p, l)
	}
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

// fillReach is how many groups a deletion searches for an entry to fill the slot that it emptied.
const fillReach = 8

// fillGap fills a slot that was emptied with an entry of the next groups that has passed it, then the slot of that
// entry, and so on. Without it entries would lie farther from their homes the longer the table lives.
func (t *typed[K, V]) fillGap(p place, l *leaf) {
	r := t.root
	g := p.g
	for i, distance := p.i, uint32(1); distance <= fillReach && distance < l.groups && g.passed() != 0; distance++ {
		i = l.after(i)
		g = r.group(l, i, t.slotSize)
		for m := displacedSlots(g.words()); m != 0; m &= m - 1 {
			s := m.first()
			e := slotAt[K, V](g, s)
			hash := t.storedHash(e, g.tag(s), uint64(p.number))
			home := homeOf(hash, l.groups)
			if l.distance(home, i) < distance {
				continue // its home is behind the gap
			}
			p.g.set(p.slot, hash, home != p.i)
			*slotAt[K, V](p.g, p.slot) = *e
			g.clear(s)
			t.unpass(l, p.number, p.i, i, hash)
			p.g, p.slot, p.i, distance = g, s, i, 0
			break
		}
	}
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
