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
		g.tags |= awayFlag
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
	if p.g.tags&awayFlag != 0 {
		t.fillGap(p, l)
	}
	block := uint32(1) << r.shift
	if l.count*16 < (l.groups-block)*loadLow || l.count == 0 {
		t.shrinkLeaf(p.number)
	}
}

// fillReach is how many groups a deletion searches for an entry to fill the slot that it emptied.
const fillReach = 4

// fillGap fills a slot that was emptied with an entry that has its home there and is displaced. Without it more and more
// entries would be displaced the longer the table lives.
func (t *typed[K, V]) fillGap(p place, l *leaf) {
	r := t.root
	g := p.g
	for i, distance := p.group, uint32(1); g.passed != 0; distance++ {
		if i = l.after(i); i == p.group {
			break
		}
		if distance > fillReach {
			return // there may be one
		}
		g = r.group(l, i, t.groupSize)
		for m := displacedSlots(g.tags); m != 0; m &= m - 1 {
			s := m.first()
			e := slotAt[K, V](g, s)
			hash := t.storedHash(e, g.tag(s), p.number)
			if homeOf(hash, l.groups) != p.group {
				continue
			}
			p.g.set(p.slot, g.tag(s), false)
			*slotAt[K, V](p.g, p.slot) = *e
			g.clear(s)
			for at := p.group; at != i; at = l.after(at) {
				r.group(l, at, t.groupSize).dropPassed(hash)
			}
			return
		}
	}
	p.g.tags &^= awayFlag
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
