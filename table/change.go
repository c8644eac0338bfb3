package table

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
	if l.count*16 >= l.groups*loadHigh {
		if err := t.growLeaf(number); err != nil {
			return nil, err
		}
		number = r.leafIndex(hash)
		l = r.leafAt(number)
	}
	l.count++
	r.count++
	r.changes++
	home := homeOf(hash, l.groups)
	g := r.group(l, home, t.groupSize)
	if free := freeSlots(g.tags); free != 0 {
		g.set(free.first(), tagOf(hash), false)
		return slotAt[K, V](g, free.first()), nil
	}
	return t.insertIntoFull(number, l, g, home, hash), nil
}

// insertIntoFull makes a slot for an entry whose home is full. If an entry from an earlier group is there, that one goes on to
// the next group with room; otherwise the new one does. So entries are displaced only if their home is full of its own.
func (t *typed[K, V]) insertIntoFull(number uint32, l *leaf, g *header, home uint32, hash uint64) *slot[K, V] {
	away := displacedSlots(g.tags)
	if away == 0 {
		return t.displace(l, hash, home)
	}
	i := away.first()
	e := slotAt[K, V](g, i)
	*t.displace(l, t.storedHash(e, g.tag(i), number), home) = *e
	g.clear(i)
	g.set(i, tagOf(hash), false)
	return e
}

// remove removes an entry.
func (t *typed[K, V]) remove(hash uint64, p place) {
	r := t.root
	l := r.leafAt(p.number)
	for i := homeOf(hash, l.groups); i != p.group; i = l.after(i) {
		r.group(l, i, t.groupSize).dropPassed(hash)
	}
	p.g.clear(p.slot)
	l.count--
	r.count--
	r.changes++
	if p.g.passed != 0 {
		t.fillGap(p, l)
	}
	block := uint32(1) << r.shift
	if l.count*16 < (l.groups-block)*loadLow || l.count == 0 {
		t.shrinkLeaf(p.number)
	}
}

// fillReach is how many groups a deletion searches for an entry to fill the slot that it emptied.
const fillReach = 2

// fillGap fills a slot that was emptied with a displaced entry of the next groups, then the slot of that entry, and so
// on. Without it entries would lie farther from their homes the longer the table lives.
func (t *typed[K, V]) fillGap(p place, l *leaf) {
	r := t.root
	to, slot := p.g, p.slot
	at := p.group
	from := to
	for i, distance := at, uint32(1); distance <= fillReach && distance < l.groups && from.passed != 0; distance++ {
		i = l.after(i)
		from = r.group(l, i, t.groupSize)
		for m := displacedSlots(from.tags); m != 0; m &= m - 1 {
			s := m.first()
			e := slotAt[K, V](from, s)
			hash := t.storedHash(e, from.tag(s), p.number)
			home := homeOf(hash, l.groups)
			if l.distance(home, i) < distance {
				continue // its home is behind the gap
			}
			to.set(slot, from.tag(s), home != at)
			*slotAt[K, V](to, slot) = *e
			from.clear(s)
			for g := at; g != i; g = l.after(g) {
				r.group(l, g, t.groupSize).dropPassed(hash)
			}
			to, slot, at, distance = from, s, i, 0
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
		u.setBlocks(l, 0)
	}
	r.count = 0
	r.changes++
	r.clears++
}
