package table

import (
	"math/bits"
	"math/rand/v2"
)

// An iteration goes through the hashes in an order that does not depend on how many leaves there are, nor on their
// memory: so no entry is missed and none comes twice, whatever happens to the table meanwhile. The low bits of a hash,
// reversed, are the place of its leaf in the order: a leaf that is split gives two that stand where it stood. Inside the
// part of the hashes that was one leaf when the iteration came to it, entries are ordered by the upper halves
// of their hashes, as groups are.

// stretch is a part of the hashes: those whose reversed low half begins with depth bits of first.
type stretch struct {
	first uint32
	depth int
}

// size returns how many reversed low halves are in the stretch: 1<<32 for all.
func (s stretch) size() uint64 { return 1 << (32 - s.depth) }

// has tells whether a hash is in the stretch.
func (s stretch) has(hash uint64) bool {
	return uint64(bits.Reverse32(uint32(hash))-s.first) < s.size()
}

// stretchAt returns the stretch of the leaf at a place, as far as it begins there.
func (r *root) stretchAt(first uint32) stretch {
	depth := r.depthOf(r.leafIndex(uint64(bits.Reverse32(first))))
	if first != 0 {
		depth = max(depth, 32-bits.TrailingZeros32(first))
	}
	return stretch{first, depth}
}

// candidate is an entry that is to be visited.
type candidate[K comparable, V any] struct {
	slot *slot[K, V]
	key  K
	copy *slot[K, V] // of the entry, if its key does not equal itself (NaN), so that it cannot be searched for
}

// walker visits entries.
type walker[K comparable, V any] struct {
	t     *typed[K, V]
	batch []candidate[K, V]
	visit func(e *slot[K, V]) bool
}

// walk visits the entries of a stretch whose upper halves are at least from and less than end, at most limit groups at a
// time. It stops when visit returns false: then more is false; and when stop, which may be nil, returns true after some
// groups: then at is where it would go on. Otherwise at is end.
func (w *walker[K, V]) walk(s stretch, from, end uint64, limit uint32, stop func() bool) (at uint64, more bool) {
	t := w.t
	r := t.root
	for n := uint32(1); from < end; n = min(2*n, limit) {
		l := r.leafOf(uint64(bits.Reverse32(s.first)))
		upto := end
		if l.groups > 0 {
			if next := uint64(homeOf(from<<32, l.groups)) + uint64(n); next < uint64(l.groups) {
				upto = min(end, l.firstHash(next))
				if stop != nil {
					upto = (upto + 1) &^ 1 // as a Cursor has it
				}
			}
		}
		w.batch = w.batch[:0]
		for first, last := uint64(s.first), uint64(s.first)+s.size(); first < last; {
			number := r.leafIndex(uint64(bits.Reverse32(uint32(first))))
			w.collect(number, s, from, upto)
			first += 1 << (32 - r.depthOf(number))
		}
		changes, clears := r.changes, r.clears
		for i := range w.batch {
			e := w.batch[i].slot
			if r.changes != changes {
				if e = w.batch[i].copy; e == nil {
					e = t.find(t, w.batch[i].key)
				} else if r.clears != clears {
					e = nil
				}
				if e == nil {
					continue // deleted
				}
			}
			if !w.visit(e) {
				return from, false
			}
			t.usable()
		}
		if from = upto; stop != nil && stop() {
			break
		}
	}
	return from, true
}

// firstHash returns the first upper half of hashes that have their home in a group.
func (l *leaf) firstHash(group uint64) uint64 {
	return (group<<32 + uint64(l.groups) - 1) / uint64(l.groups)
}

// collect adds the entries of a leaf to the batch that are in a stretch, with upper halves from from to upto.
func (w *walker[K, V]) collect(number uint32, s stretch, from, upto uint64) {
	t := w.t
	r := t.root
	l := r.leafAt(number)
	if l.groups == 0 {
		return
	}
	first, last := homeOf(from<<32, l.groups), homeOf((upto-1)<<32, l.groups)
	// Then every entry that is at home in these groups is one of them, and only others must be hashed.
	whole := s.depth <= r.depthOf(number) && l.firstHash(uint64(first)) == from && (upto == 1<<32 || l.firstHash(uint64(last)+1) == upto)
	for i, behind := first, false; ; {
		g := r.group(l, i, t.groupSize)
		m := usedSlots(g.tags)
		if behind {
			m = displacedSlots(g.tags)
		}
		for ; m != 0; m &= m - 1 {
			e := slotAt[K, V](g, m.first())
			if !whole || g.isDisplaced(m.first()) {
				hash := t.storedHash(e, g.tag(m.first()), number)
				if upper := hash >> 32; upper < from || upper >= upto || !s.has(hash) {
					continue
				}
			}
			c := candidate[K, V]{slot: e, key: e.key}
			if c.key != c.key {
				entry := *e
				c.copy = &entry
			}
			w.batch = append(w.batch, c)
		}
		behind = behind || i == last
		if behind && g.passed == 0 {
			return
		}
		if i = l.after(i); i == first {
			return
		}
	}
}

// forEach calls visit for every entry until visit returns false. visit may change the table. It begins at a random
// place: so a program that deletes the first entries again and again does not empty one end of the table.
func (t *typed[K, V]) forEach(visit func(e *slot[K, V]) bool) {
	r := t.root
	begin := r.stretchAt(bits.Reverse32(rand.Uint32N(r.leaves)))
	from := uint64(rand.Uint32())
	w := walker[K, V]{t: t, visit: visit}
	if _, more := w.walk(begin, from, 1<<32, walkGroups, nil); !more {
		return
	}
	for next := begin.first + uint32(begin.size()); next != begin.first; {
		s := r.stretchAt(next)
		for next < begin.first && uint64(next)+s.size() > uint64(begin.first) {
			s.depth++
		}
		if _, more := w.walk(s, 0, 1<<32, walkGroups, nil); !more {
			return
		}
		next += uint32(s.size())
	}
	w.walk(begin, 0, from, walkGroups, nil)
}

// walkGroups is how many groups an iteration visits at a time.
const walkGroups = 8

// Cursor is a place in an iteration, for Scan. The zero Cursor is the beginning. It may be stored.
type Cursor uint64

// A Cursor that is not zero has a stretch, and the upper half that comes next there, without its last bit:
//
//	63                                  31         0
//	first bits of the stretch, 1, 0 …   │ upper half
const cursorBits = 31

func cursorAt(s stretch, from uint64) Cursor {
	return Cursor(uint64(s.first|1<<(31-s.depth))<<cursorBits | from>>1)
}

func (c Cursor) place() (s stretch, from uint64) {
	top := uint32(c >> cursorBits)
	s.depth = 31 - bits.TrailingZeros32(top)
	s.first = top & (top - 1)
	return s, uint64(c&(1<<cursorBits-1)) << 1
}

// scan calls visit for the next entries: n, and those with like hashes. It moves c behind them.
func (t *typed[K, V]) scan(c *Cursor, n int, visit func(e *slot[K, V]) bool) {
	r := t.root
	var s stretch
	var from uint64
	if *c == 0 {
		s = r.stretchAt(0)
	} else {
		s, from = c.place()
	}
	w := walker[K, V]{t: t, visit: func(e *slot[K, V]) bool { n--; return visit(e) }}
	for {
		at, more := w.walk(s, from, 1<<32, 1, func() bool { return n <= 0 })
		switch {
		case !more:
			return // the cursor stays: the group comes again
		case at < 1<<32:
			*c = cursorAt(s, at)
			return
		}
		next := uint64(s.first) + s.size()
		if next == 1<<32 {
			*c = 0
			return
		}
		s, from = r.stretchAt(uint32(next)), 0
		*c = cursorAt(s, 0)
		if n <= 0 {
			return
		}
	}
}

// sample calls visit for n entries at random until it returns false. An entry may come several times.
func (t *typed[K, V]) sample(n int, visit func(e *slot[K, V]) bool) {
	r := t.root
	for ; n > 0 && r.count > 0; n-- {
		e := t.random()
		if e == nil || !visit(e) {
			return
		}
		t.usable()
	}
}

// random returns a random entry: it draws slots until one is used. In a table where few are, it takes the next one instead.
func (t *typed[K, V]) random() *slot[K, V] {
	r := t.root
	for range 200 {
		l := r.leafAt(rand.Uint32N(r.leaves))
		group := rand.Uint32N(r.lastSize)
		if group >= l.groups {
			continue
		}
		g, i := r.group(l, group, t.groupSize), uintptr(rand.Uint32N(groupSlots))
		if usedSlots(g.tags)&(1<<(8*i+7)) != 0 {
			return slotAt[K, V](g, i)
		}
	}
	var next *slot[K, V]
	t.forEach(func(e *slot[K, V]) bool { next = e; return false })
	return next
}
