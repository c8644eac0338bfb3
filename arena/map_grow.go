package arena

import (
	"math/bits"
	"unsafe"
)

// The load of a table is kept near loadFull. A scale is laid out anew, and larger, while
// entries come in: each insertion moves one home at most. What has not been moved is denser than the average, but
// not above loadMost.
const (
	loadPer  = 100
	loadFull = 84
	loadMost = 94

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

// larger returns how many homes come after these: twice as many in small tables, where memory does not
// matter, later an eighth more, in whole segments. It is never more than twice as many.
func larger(homes uint64) uint64 {
	if homes < segmentGroups {
		return 2 * homes
	}
	return homes + max(homes/8&^(segmentGroups-1), segmentGroups)
}

// plan says when the homes of the old scale are moved.
func (h *mapHeader) plan() {
	homes := h.scales[0].homes
	start := homes * groupSlots * loadFull
	end := min(larger(homes)*groupSlots*loadFull, homes*groupSlots*loadMost)
	h.due = start << paceBits / loadPer
	h.pace = (end - start) << paceBits / loadPer / homes
	h.moved, h.boundary = 0, 0
}

// moveHome moves what has its home at the first home that was not moved. It fails, and nothing is changed, if
// there is no memory.
func (t *table[K, V]) moveHome() error {
	h := t.head
	from, to := &h.scales[0], &h.scales[1]
	if to.homes == 0 {
		if err := t.layOut(to, larger(from.homes)); err != nil {
			return err
		}
	}
	boundary, _ := from.end(h.moved + 1)
	last, _ := bits.Mul64(boundary-1, to.homes)
	if err := t.makeRoom(last + to.first); err != nil {
		return err
	}
	home, slots := groupAt(t.base, from.dir, h.moved+from.first, unsafe.Sizeof(slot[K, V]{}))
	if n := past(home); n != 0 {
		t.moveDisplaced(int(n))
	}
	t.moveGroup(home, slots, max(last, 1)-1+to.first)
	setWords(home, 0, 0)
	h.moved++
	h.boundary = boundary
	h.due += h.pace
	t.recycle()
	return nil
}

// moveGroup moves all entries of a group: all homes before it have been moved, so it is their home. Nearly all of them
// go to two groups, at near and behind: what is free there is read once.
func (t *table[K, V]) moveGroup(header, slots unsafe.Pointer, near uint64) {
	seed, to := t.head.seed, &t.head.scales[1]
	size := unsafe.Sizeof(slot[K, V]{})
	header0, slots0 := groupAt(t.base, to.dir, near, size)
	header1, slots1 := groupAt(t.base, to.dir, near+1, size)
	free0, free1 := unused(words(header0)), unused(words(header1))
	homes, first := to.homes, to.first-near
	for m := used(words(header)); m != 0; m &= m - 1 {
		i := m.first()
		e := (*slot[K, V])(unsafe.Add(slots, i*size))
		var hash uint64
		if unsafe.Sizeof(e.key) == 8 && t.keys == byBytes {
			hash = seed.word(load8(unsafe.Pointer(e), 0)) // not a call
		} else {
			hash = t.hash(&e.key)
		}
		tag := tagAt(header, i)
		home, _ := bits.Mul64(hash, homes)
		switch home += first; {
		case home == 0 && free0 != 0:
			i := free0.first()
			free0 &= free0 - 1
			putTag(header0, i, tag)
			*(*slot[K, V])(unsafe.Add(slots0, i*size)) = *e
		case home == 1 && free1 != 0:
			i := free1.first()
			free1 &= free1 - 1
			putTag(header1, i, tag)
			*(*slot[K, V])(unsafe.Add(slots1, i*size)) = *e
		default:
			*t.place(hash, tag) = *e
			free0, free1 = unused(words(header0)), unused(words(header1))
		}
	}
}

// moveDisplaced moves the n entries that went past the home that is moved now. They tend to be in the last slots.
func (t *table[K, V]) moveDisplaced(n int) {
	if n == pastMost {
		n = -1 // not known
	}
	h := t.head
	from := &h.scales[0]
	home := h.moved + from.first
	for address := home + 1; ; address++ {
		header, slots := groupAt(t.base, from.dir, address, unsafe.Sizeof(slot[K, V]{}))
		for m := used(words(header)); m != 0; {
			i := m.last()
			m ^= 1 << (4*i + 3)
			e := slotAt[K, V](slots, i)
			hash := t.hash(&e.key)
			if s, its := h.seek(hash); its != home || s != from {
				continue
			}
			*t.place(hash, tagAt(header, i)) = *e
			setTag(header, i, 0)
			for between := home + 1; between < address; between++ {
				dropPast(t.header(from, between))
			}
			if n--; n == 0 {
				return
			}
		}
		if past(header) == 0 {
			return
		}
	}
}

// place makes a slot in the new scale, where makeRoom has seen that there is one.
func (t *table[K, V]) place(hash uint64, tag uint8) *slot[K, V] {
	to := &t.head.scales[1]
	home, _ := bits.Mul64(hash, to.homes)
	home += to.first
	for address := home; ; address++ {
		header, slots := groupAt(t.base, to.dir, address, unsafe.Sizeof(slot[K, V]{}))
		if free := unused(words(header)); free != 0 {
			i := free.pick(address == home)
			setTag(header, i, tag)
			return slotAt[K, V](slots, i)
		}
		addPast(header)
	}
}

// makeRoom makes sure that what is moved next finds room in the new scale, at the address of the last home that
// it may have there or behind.
func (g *ground) makeRoom(last uint64) error {
	h := g.head
	from, to := &h.scales[0], &h.scales[1]
	even, odd := words(g.header(from, h.moved+from.first))
	entries := used(even, odd).count() + int(odd>>56)
	if odd>>56 == pastMost {
		for address := h.moved + from.first; past(g.header(from, address)) != 0; address++ {
			entries += groupSlots
		}
	}
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

// recycle keeps the segment whose last home was moved, and ends the move after the last home of all.
func (g *ground) recycle() {
	h := g.head
	from := &h.scales[0]
	whole := from.first == 0 // segments, not a piece of one
	if whole && h.moved%segmentGroups == 0 {
		g.keep(from, h.moved/segmentGroups-1)
	}
	if h.moved < from.homes {
		return
	}
	if whole {
		for s := from.homes / segmentGroups; s < from.segments; s++ {
			for i := range uint64(segmentGroups) {
				setWords(g.header(from, s*segmentGroups+i), 0, 0) // counts that were stuck
			}
			g.keep(from, s)
		}
	}
	h.scales = [2]scale{h.scales[1]}
	h.plan()
}
