package table

import (
	"math/bits"
	"unsafe"
)

// The load of a table is kept near loadFull. A scale is laid out anew, and larger, while entries
// come in: each insertion moves one group at most. What has not been moved is denser than the
// average, but not above loadMost.
const (
	loadPer  = 1000
	loadFull = 862
	loadMost = 970

	paceBits = 16
)

// homesFor returns the homes of a table that does not grow before it has n entries.
func homesFor(n uint64) uint64 {
	const full = groupSlots * loadFull
	homes := n/full*loadPer + (n%full*loadPer+full-1)/full
	if homes <= segmentGroups/2 {
		return 1 << bits.Len64(max(homes, 1)-1)
	}
	return (homes + segmentGroups - 1) &^ (segmentGroups - 1)
}

// larger returns how many homes come after these: twice as many in small tables, where memory does
// not matter, later an eighth more, in whole segments. It is never more than twice as many.
func larger(homes uint64) uint64 {
	if homes < segmentGroups {
		return 2 * homes
	}
	return homes + max(homes/8&^(segmentGroups-1), segmentGroups)
}

// plan says when the groups of the old scale are moved.
func (h *mapHeader) plan() {
	homes := h.old().homes
	start := homes * groupSlots * loadFull
	end := min(larger(homes)*groupSlots*loadFull, homes*groupSlots*loadMost)
	h.due = start << paceBits / loadPer
	h.pace = (end - start) << paceBits / loadPer / homes
	h.moved, h.boundary, h.left, h.leftSize = 0, 0, 1, 0
}

// move moves the first group that was not moved to the new scale. It fails, and nothing is changed,
// if there is no memory.
//
// With the group its home is moved, but for entries that went past it: they come with the next
// groups.
func (t *table[K, V]) move() error {
	h := t.head
	from, to := h.old(), h.new()
	if to.homes == 0 {
		if err := t.layOut(to, larger(from.homes)); err != nil {
			return err
		}
	}
	header, slots := groupAt(t.base(), from.dir, from.first+h.moved, unsafe.Sizeof(slot[K, V]{}))
	boundary := from.last(h.moved)
	last, _ := bits.Mul64(boundary, to.homes)
	if err := t.makeRoom(to.first+last, used(words(header)).count()); err != nil {
		return err
	}
	t.moveEntries(header, slots, to.first+max(last, 2)-2)
	h.moved++
	h.changes++
	h.boundary = boundary
	if h.moved < from.homes {
		h.due += h.pace
	}
	if past(header) == 0 {
		h.left = boundary + 1
	}
	h.leftSize = boundary + 1 - h.left
	setWords(header, 0, 0)
	t.recycle()
	return nil
}

// moveEntries moves the entries of a group. Nearly all go to three groups, from near on: what is
// free there is read once. Which of the three is as good as random, so that is an index and not a
// branch.
func (t *table[K, V]) moveEntries(header, slots unsafe.Pointer, near uint64) {
	to := t.head.new()
	size := unsafe.Sizeof(slot[K, V]{})
	var at [3]struct {
		header, slots unsafe.Pointer
		free          slotSet
	}
	for i := range at {
		at[i].header, at[i].slots = groupAt(t.base(), to.dir, near+uint64(i), size)
		at[i].free = unused(words(at[i].header))
	}
	homes, first := to.homes, to.first-near
	for m := used(words(header)); m != 0; m &= m - 1 {
		i := m.first()
		e := (*slot[K, V])(unsafe.Add(slots, i*size))
		hash := hashInline(&t.ground, unsafe.Pointer(e), unsafe.Sizeof(e.key), (*ground).hash)
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
			at[i].free = unused(words(at[i].header))
		}
	}
}

// place makes a slot in the new scale, where makeRoom has seen that there is one.
func (t *table[K, V]) place(hash uint64) *slot[K, V] {
	to := t.head.new()
	address, _ := bits.Mul64(hash, to.homes)
	tag := tagOf(hash)
	for address += to.first; ; address++ {
		header, slots := groupAt(t.base(), to.dir, address, unsafe.Sizeof(slot[K, V]{}))
		if free := unused(words(header)); free != 0 {
			setTag(header, free.first(), tag)
			return slotAt[K, V](slots, free.first())
		}
		addPast(header)
		tag |= stray
	}
}

// makeRoom makes sure that a number of entries find room in the new scale, if none has its home
// there behind the address last.
func (g *ground) makeRoom(last uint64, entries int) error {
	to := g.head.new()
	for address := last; ; address++ {
		if err := g.reach(to, address); err != nil {
			return err
		}
		entries -= unused(words(g.header(to, address))).count()
		if entries <= 0 {
			return nil
		}
	}
}

// recycle keeps a segment whose last group was moved. The move ends with the last home, or behind
// it where the last entry is that went past: what there is of the old scale beyond was never used,
// or is empty again.
func (g *ground) recycle() {
	h := g.head
	from := h.old()
	done := h.moved >= from.homes && h.leftSize == 0
	if whole := from.first == 0; whole { // segments, not a piece of one
		segments := h.moved / segmentGroups
		if h.moved%segmentGroups == 0 {
			g.keep(from, segments-1)
		}
		for done && segments < from.segments {
			g.keep(from, segments)
			segments++
		}
	}
	if done {
		h.scales = [2]scale{{}, *h.new()}
		h.plan()
	}
}
