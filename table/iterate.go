package table

import (
	"iter"
	"math/bits"
	"math/rand/v2"
	"unsafe"
)

// An iteration goes through the hashes in an order that does not depend on how many leaves there are, nor on their
// memory: so no entry is missed and none comes twice, whatever happens to the table meanwhile. The leafBits of a hash,
// reversed, are the place of its leaf in the order: a leaf that is split gives two that stand where it stood. The part
// of the hashes that was one leaf when the iteration came to it is gone through in 32 passes, of the entries whose tags have the
// same high bits, their class: so a program that deletes what it meets does not empty some groups while others overflow. In
// a pass entries are ordered by the upper halves of their hashes, as groups are.

// stretch is a part of the hashes: those whose reversed leafBits begin with depth bits of first.
type stretch struct {
	first uint32
	depth int
}

// size returns how many reversed leafBits are in the stretch: 1<<32 for all.
func (s stretch) size() uint64 { return 1 << (32 - s.depth) }

// has tells whether a hash is in the stretch.
func (s stretch) has(hash uint64) bool {
	return uint64(bits.Reverse32(leafBits(hash))-s.first) < s.size()
}

// stretchAt returns the stretch of the leaf at a place, as far as it begins there.
func (r *root) stretchAt(first uint32) stretch {
	depth := r.depthOf(r.leafIndex(uint64(bits.Reverse32(first))))
	if first != 0 {
		depth = max(depth, 32-bits.TrailingZeros32(first))
	}
	return stretch{first, depth}
}

// candidate is an entry that is to be visited. It has no pointers, so the garbage collector leaves many of them alone.
type candidate[K comparable] struct {
	at  uintptr // offset of the slot; if the key does not equal itself (NaN), index in walker.copies
	key K
}

// copied is an entry that cannot be searched for.
type copied[K comparable, V any] struct {
	at    uintptr
	entry slot[K, V]
}

// walker visits entries.
type walker[K comparable, V any] struct {
	t       *typed[K, V]
	batch   []candidate[K]
	batches [classes][]candidate[K] // of the classes of a leaf
	copies  []copied[K, V]
	visit   func(e *slot[K, V]) bool
}

// add adds an entry to a batch.
func (w *walker[K, V]) add(batch []candidate[K], e *slot[K, V]) []candidate[K] {
	c := candidate[K]{uintptr(unsafe.Pointer(e)) - uintptr(w.t.base()), e.key}
	if c.key != c.key {
		w.copies = append(w.copies, copied[K, V]{c.at, *e})
		c.at = uintptr(len(w.copies) - 1)
	}
	return append(batch, c)
}

// deliver visits the entries of a batch that are still there. The numbers are those of the root when the batch was
// collected. It returns false if visit did.
func (w *walker[K, V]) deliver(batch []candidate[K], changes, clears uint64) bool {
	t := w.t
	for i := range batch {
		var e *slot[K, V]
		switch c := &batch[i]; {
		case c.key != c.key:
			copied := &w.copies[c.at]
			if e = (*slot[K, V])(t.at(uint64(copied.at))); t.root.changes != changes {
				e = &copied.entry
			}
			if t.root.clears != clears {
				continue
			}
		case t.root.changes == changes:
			e = (*slot[K, V])(t.at(uint64(c.at)))
		default:
			if e, _ = t.find(t, c.key); e == nil {
				continue // deleted
			}
		}
		if !w.visit(e) {
			return false
		}
		t.usable()
	}
	return true
}

// walk visits the entries of one class of a stretch whose upper halves are at least from and less than end, n groups of its first leaf at a
// time, and then twice as many if that is not more than limit. It stops when visit returns false: then more is false; and when stop, which may be nil, returns true after some
// groups: then at is where it would go on. Otherwise at is end.
func (w *walker[K, V]) walk(s stretch, class, from, end uint64, n, limit uint32, stop func() bool) (at uint64, more bool) {
	t := w.t
	r := t.root
	for ; from < end; n = min(2*n, limit) {
		l := r.leafOf(uint64(bits.Reverse32(s.first)))
		upto := end
		if l.groups > 0 {
			if next := uint64(homeOf(from<<32, l.groups)) + uint64(n); next < uint64(l.groups) {
				upto = min(end, l.firstHash(next))
				if stop != nil {
					upto = (upto + cursorStep - 1) &^ (cursorStep - 1)
				}
			}
		}
		w.batch, w.copies = w.batch[:0], w.copies[:0]
		for number := range r.leavesOf(s) {
			w.collect(number, s, class, from, upto)
		}
		if !w.deliver(w.batch, r.changes, r.clears) {
			return from, false
		}
		if from = upto; stop != nil && stop() {
			break
		}
	}
	return from, true
}

// leavesOf returns the numbers of the leaves that have the hashes of a stretch.
func (r *root) leavesOf(s stretch) iter.Seq[uint32] {
	return func(yield func(number uint32) bool) {
		for first, last := uint64(s.first), uint64(s.first)+s.size(); first < last; {
			number := r.leafIndex(uint64(bits.Reverse32(uint32(first))))
			if !yield(number) {
				return
			}
			first += 1 << (32 - r.depthOf(number))
		}
	}
}

// firstHash returns the first upper half of hashes that have their home in a group.
func (l *leaf) firstHash(group uint64) uint64 {
	return (group<<32 + uint64(l.groups) - 1) / uint64(l.groups)
}

// collect adds the entries of a leaf to the batch that are in a stretch and a class, with upper halves from from to upto.
func (w *walker[K, V]) collect(number uint32, s stretch, class, from, upto uint64) {
	t := w.t
	r := t.root
	l := r.leafAt(number)
	if l.groups == 0 {
		return
	}
	first, last := homeOf(from<<32, l.groups), homeOf((upto-1)<<32, l.groups)
	for i, behind := first, false; ; {
		g := r.group(l, i, unsafe.Sizeof(slot[K, V]{}))
		even, odd := g.words()
		for m := usedSlots(even, odd) & inClass(even, odd, class); m != 0; m &= m - 1 {
			e := slotAt[K, V](g, m.first())
			hash := t.storedHash(e, g.tag(m.first()), uint64(number))
			if upper := hash >> 32; upper < from || upper >= upto || !s.has(hash) {
				continue
			}
			w.batch = w.add(w.batch, e)
		}
		behind = behind || i == last
		if behind && g.passed() == 0 {
			return
		}
		if i = l.after(i); i == first {
			return
		}
	}
}

// forEach calls visit for every entry until visit returns false. visit may change the table. It begins at a random
// entry: so a program that deletes the first entry again and again deletes random ones.
func (t *typed[K, V]) forEach(visit func(e *slot[K, V]) bool) {
	r := t.root
	number, g, i, ok := t.randomSlot()
	if !ok {
		return
	}
	hash := t.storedHash(slotAt[K, V](g, i), g.tag(i), uint64(number))
	begin := r.stretchAt(bits.Reverse32(number))
	class, from := g.tag(i)>>classShift, hash>>32
	w := walker[K, V]{t: t, visit: visit}
	if _, more := w.walk(begin, class, from, 1<<32, 1, walkGroups, nil); !more || !w.walkClasses(begin, class+1, classes) {
		return
	}
	for next := begin.first + uint32(begin.size()); next != begin.first; {
		s := r.stretchAt(next)
		for next < begin.first && uint64(next)+s.size() > uint64(begin.first) {
			s.depth++
		}
		if !w.walkClasses(s, 0, classes) {
			return
		}
		next += uint32(s.size())
	}
	if w.walkClasses(begin, 0, class) {
		w.walk(begin, class, 0, from, walkGroups, walkGroups, nil)
	}
}

// walkClasses visits the entries of some classes of a stretch. It returns false if visit did.
func (w *walker[K, V]) walkClasses(s stretch, class, end uint64) bool {
	if class == end {
		return true
	}
	r := w.t.root
	w.copies = w.copies[:0]
	for i := range w.batches {
		w.batches[i] = w.batches[i][:0]
	}
	for number := range r.leavesOf(s) {
		w.collectLeaf(number, s)
	}
	for changes, clears := r.changes, r.clears; class < end; class++ {
		if !w.deliver(w.batches[class], changes, clears) {
			return false
		}
	}
	return true
}

// collectLeaf adds the entries of a leaf that are in a stretch to the batches of their classes. It looks at each group once.
func (w *walker[K, V]) collectLeaf(number uint32, s stretch) {
	t := w.t
	r := t.root
	l := r.leafAt(number)
	for i, n := range w.batches {
		if need := len(n) + int(l.count/classes) + int(l.count/classes/8) + 4; cap(n) < need {
			w.batches[i] = append(make([]candidate[K], 0, need), n...)
		}
	}
	whole := s.depth <= r.depthOf(number) // every entry of the leaf is in the stretch
	touched := byte(0)
	for i := range l.groups {
		if i&r.inBlock == 0 {
			touched |= touch(t.at(uint64(l.blocks[i>>(r.shift&31)])*blockUnit), t.blockSize())
		}
		g := r.group(l, i, unsafe.Sizeof(slot[K, V]{}))
		even, odd := g.words()
		for m := usedSlots(even, odd); m != 0; m &= m - 1 {
			at := m.first()
			e := slotAt[K, V](g, at)
			tag := tagIn(even, odd, at)
			if whole || s.has(t.storedHash(e, tag, uint64(number))) {
				class := tag >> classShift
				w.batches[class] = w.add(w.batches[class], e)
			}
		}
	}
	sink(touched)
}

// An iteration begins with single groups, because programs that delete the first entry and stop need no more. Then it takes
// whole leaves, whose entries need not be hashed.
const walkGroups = 16

// Cursor is a place in the iteration of one table, for Scan. The zero Cursor is the beginning, and the end. It may be
// copied, stored and sent: it is a number, and stays good while the table changes. For another table it is some place.
type Cursor uint64

// A Cursor that is not zero has a stretch, and a class and the upper half that come next there, without its last bits:
//
//	63                                  31      26         0
//	first bits of the stretch, 1, 0 …   │ class │ upper half
const (
	cursorBits = 31
	upperBits  = 26
	cursorStep = 1 << (32 - upperBits)
)

func cursorAt(s stretch, class, from uint64) Cursor {
	return Cursor(uint64(s.first|1<<(31-s.depth))<<cursorBits | class<<upperBits | from/cursorStep)
}

func (c Cursor) place() (s stretch, class, from uint64) {
	top := uint32(c >> cursorBits)
	s.depth = 31 - bits.TrailingZeros32(top)
	s.first = top & (top - 1)
	return s, uint64(c) >> upperBits & (classes - 1), uint64(c) & (1<<upperBits - 1) * cursorStep
}

// scan calls visit for the next entries: n, and those with like hashes. It moves c behind them.
func (t *typed[K, V]) scan(c *Cursor, n int, visit func(e *slot[K, V]) bool) {
	r := t.root
	s, class, from := r.stretchAt(0), uint64(0), uint64(0)
	if *c>>cursorBits != 0 {
		s, class, from = c.place()
	}
	w := walker[K, V]{t: t, visit: func(e *slot[K, V]) bool { n--; return visit(e) }}
	for {
		at, more := w.walk(s, class, from, 1<<32, 1, walkGroups, func() bool { return n <= 0 })
		switch {
		case !more:
			return // the cursor stays: these groups come again
		case at < 1<<32:
			*c = cursorAt(s, class, at)
			return
		}
		if class, from = class+1, 0; class == classes {
			next := uint64(s.first) + s.size()
			if next == 1<<32 {
				*c = 0
				return
			}
			s, class = r.stretchAt(uint32(next)), 0
		}
		if *c = cursorAt(s, class, 0); n <= 0 {
			return
		}
	}
}

// sample calls visit for n entries at random until it returns false. An entry may come several times.
func (t *typed[K, V]) sample(n int, visit func(e *slot[K, V]) bool) {
	r := t.root
	for ; n > 0 && r.count > 0; n-- {
		if _, g, i, _ := t.randomSlot(); !visit(slotAt[K, V](g, i)) {
			return
		}
		t.usable()
	}
}

// randomSlot returns the place of a random entry: its leaf, its group and its slot. It draws slots until one is used; in a
// table where few are, it takes the next one from a random place instead.
func (t *typed[K, V]) randomSlot() (number uint32, g group, i uintptr, ok bool) {
	r := t.root
	if r.count == 0 {
		return 0, group{}, 0, false
	}
	for range 200 {
		number = rand.Uint32N(r.leaves)
		l := r.leafAt(number)
		at := rand.Uint32N(r.lastSize)
		if at >= l.groups {
			continue
		}
		g, i = r.group(l, at, t.slotSize), uintptr(rand.Uint32N(groupSlots))
		if g.used()&(1<<(4*i+3)) != 0 {
			return number, g, i, true
		}
	}
	for number = rand.Uint32N(r.leaves); r.leafAt(number).count == 0; {
		if number++; number == r.leaves {
			number = 0
		}
	}
	l := r.leafAt(number)
	for at := rand.Uint32N(l.groups); ; at = l.after(at) {
		g = r.group(l, at, t.slotSize)
		if used := g.used(); used != 0 {
			return number, g, used.first(), true
		}
	}
}
