package table

import (
	"math/bits"
	"unsafe"
)

// The load of a table, in thousandths of its slots. It is kept near loadFull. The next layout is filled
// while entries come in: each insertion moves one group at most. Groups of the current layout that were not
// moved yet are fuller than the average, but not above loadMost.
const (
	loadPer  = 1000
	loadFull = 862
	loadMost = 970

	// fractionBits is the fixed-point precision of root.nextMove and root.movePeriod.
	fractionBits = 16
)

// homesFor returns the number of homes for a table that does not grow before it has n entries.
func homesFor(n uint64) uint64 {
	const full = groupSlots * loadFull
	homes := n/full*loadPer + (n%full*loadPer+full-1)/full
	if homes <= segmentGroups/2 {
		return 1 << bits.Len64(max(homes, 1)-1)
	}
	return (homes + segmentGroups - 1) &^ (segmentGroups - 1)
}

// larger returns the number of homes of the next layout: twice as many for small tables, where memory does
// not matter, an eighth more for others, in whole segments. It is never more than twice as many.
func larger(homes uint64) uint64 {
	if homes < segmentGroups {
		return 2 * homes
	}
	return homes + max(homes/8&^(segmentGroups-1), segmentGroups)
}

// scheduleMoves spreads the moves of the current layout over the insertions to come.
func (r *root) scheduleMoves() {
	homes := r.current().homes
	start := homes * groupSlots * loadFull
	end := min(larger(homes)*groupSlots*loadFull, homes*groupSlots*loadMost)
	r.nextMove = start << fractionBits / loadPer
	r.movePeriod = (end - start) << fractionBits / loadPer / homes
	r.moved, r.boundary, r.lagFrom, r.lagging = 0, 0, 1, 0
}

// move moves one group, the first that is left of the current layout, to the next layout. It fails, and
// changes nothing, if the arena is full.
//
// Hashes whose home is the group then have their homes in the next layout. Entries of theirs that
// overflowed into later groups lag behind: they are moved with those groups.
func (t *typed[K, V]) move() error {
	r := t.root
	from, to := r.current(), r.next()
	if to.homes == 0 {
		if err := t.newLayout(to, larger(from.homes)); err != nil {
			return err
		}
	}
	header, slots := groupAt(t.base(), from.dir, from.first+r.moved, unsafe.Sizeof(slot[K, V]{}))
	boundary := from.lastHash(r.moved)
	last, _ := bits.Mul64(boundary, to.homes)
	if err := t.ensureRoom(to.first+last, usedSlots(words(header)).count()); err != nil {
		return err
	}
	t.moveEntries(header, slots, to.first+max(last, 2)-2)
	r.moved++
	r.changes++
	r.boundary = boundary
	if r.moved < from.homes {
		r.nextMove += r.movePeriod
	}
	if overflow(header) == 0 {
		r.lagFrom = boundary + 1
	}
	r.lagging = boundary + 1 - r.lagFrom
	setWords(header, 0, 0)
	t.retireGroups()
	return nil
}

// moveEntries moves the entries of a group. Nearly all of them go to three groups of the next layout, the
// first of which is near: the free slots of these are read once. The choice among the three is an index and
// not a branch, because it is as good as random.
func (t *typed[K, V]) moveEntries(header, slots unsafe.Pointer, near uint64) {
	to := t.root.next()
	size := unsafe.Sizeof(slot[K, V]{})
	var at [3]struct {
		header, slots unsafe.Pointer
		free          slotSet
	}
	for i := range at {
		at[i].header, at[i].slots = groupAt(t.base(), to.dir, near+uint64(i), size)
		at[i].free = freeSlots(words(at[i].header))
	}
	homes, first := to.homes, to.first-near
	for m := usedSlots(words(header)); m != 0; m &= m - 1 {
		i := m.first()
		e := (*slot[K, V])(unsafe.Add(slots, i*size))
		hash := hashInline(&t.untyped, unsafe.Pointer(e), unsafe.Sizeof(e.key), (*untyped).hash)
		home, _ := bits.Mul64(hash, homes)
		home += first
		if home < uint64(len(at)) && at[home].free != 0 {
			to := &at[home]
			i := to.free.first()
			to.free &= to.free - 1
			putTag(to.header, i, tagOf(hash))
			*(*slot[K, V])(unsafe.Add(to.slots, i*size)) = *e
			continue
		}
		*t.place(hash) = *e
		for i := range at {
			at[i].free = freeSlots(words(at[i].header))
		}
	}
}

// place makes a slot in the next layout. ensureRoom has made sure that there is one.
func (t *typed[K, V]) place(hash uint64) *slot[K, V] {
	to := t.root.next()
	address, _ := bits.Mul64(hash, to.homes)
	tag := tagOf(hash)
	for address += to.first; ; address++ {
		header, slots := groupAt(t.base(), to.dir, address, unsafe.Sizeof(slot[K, V]{}))
		if free := freeSlots(words(header)); free != 0 {
			setTag(header, free.first(), tag)
			return slotAt[K, V](slots, free.first())
		}
		addOverflow(header)
		tag |= displaced
	}
}

// ensureRoom adds segments until a number of entries find room in the next layout. None of them has its
// home behind the group last.
func (u *untyped) ensureRoom(last uint64, entries int) error {
	to := u.root.next()
	for address := last; ; address++ {
		if err := u.ensureGroup(to, address); err != nil {
			return err
		}
		entries -= freeSlots(words(u.header(to, address))).count()
		if entries <= 0 {
			return nil
		}
	}
}

// retireGroups keeps segments for later use whose last group was moved, and ends the move when nothing
// is left of the current layout. The last groups to be moved are the last home, and those behind it that took
// overflow. The rest of the current layout was never used, or is empty again.
func (u *untyped) retireGroups() {
	r := u.root
	from := r.current()
	done := r.moved >= from.homes && r.lagging == 0
	if whole := from.first == 0; whole { // segments, not a piece of one
		segments := r.moved / segmentGroups
		if r.moved%segmentGroups == 0 {
			u.keepSpare(from, segments-1)
		}
		for done && segments < from.segments {
			u.keepSpare(from, segments)
			segments++
		}
	}
	if done {
		r.layouts = [2]layout{{}, *r.next()}
		r.scheduleMoves()
	}
}
