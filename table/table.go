package table

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// table is what Map and Strings have in common: everything but how a key is looked for.
type table[K comparable, V any] struct {
	find func(t *table[K, V], key K) *slot[K, V] // returns the slot of a key, nil if it is not there
	ground
}

// slot is an entry.
type slot[K comparable, V any] struct {
	key   K
	value V
}

// open makes an empty table with room for hint entries.
func (t *table[K, V]) open(a *arena.Arena, op string, hint int) error {
	mustBeOpen(a, op)
	mustBePointerFree(reflect.TypeFor[K]())
	mustBePointerFree(reflect.TypeFor[V]())
	if hint < 0 {
		return fmt.Errorf("table: %s: the hint %d is negative", op, hint)
	}
	if size := unsafe.Sizeof(slot[K, V]{}); uint64(size) > math.MaxInt/(segmentGroups*groupSlots) {
		return fmt.Errorf("table: %s: entries of %d bytes: a map of them does not fit into addresses: %w", op, size, guard.ErrNoMemory)
	}
	h := hasher{parts: partsOf(reflect.TypeFor[K]())}
	if _, ok := any(*new(K)).(text); ok {
		h.kind = known
	} else if !plain(h.parts, unsafe.Sizeof(*new(K))) {
		h.kind = byParts
	}
	if t.find = t.carefully(); h.kind == byBytes {
		t.find = t.quickly()
	}
	t.doom = func() {
		t.doomed, t.find = true, t.carefully()
		t.epoch, _ = a.Epoch()
	}
	return t.ground.open(a, hint, h, unsafe.Sizeof(slot[K, V]{}))
}

// slotAt returns a slot of a group.
func slotAt[K comparable, V any](slots unsafe.Pointer, i uintptr) *slot[K, V] {
	return (*slot[K, V])(unsafe.Add(slots, i*unsafe.Sizeof(slot[K, V]{})))
}

// quickly returns a find for tables whose keys count with all bytes. It does not look whether the
// table is alive: doom puts another in its place.
//
// It calls nothing, needs no stack, and is as short as can be: while the processor waits for memory
// it looks ahead, and the shorter this is, the more searches it overlaps. As a literal it needs no
// dictionary. (In an inlined literal, calls are not inlined.)
//
//go:noinline
func (t *table[K, V]) quickly() func(t *table[K, V], key K) *slot[K, V] {
	return func(t *table[K, V], key K) *slot[K, V] {
		h := t.head
		var hash uint64
		switch p := unsafe.Pointer(&key); unsafe.Sizeof(key) { // a constant
		case 4:
			hash = h.seed.word(load4(p, 0))
		case 8:
			hash = h.seed.word(load8(p, 0))
		case 16:
			hash = h.seed.pair(load8(p, 0), load8(p, 8))
		default:
			hash = h.seed.bytes(p, unsafe.Sizeof(key))
		}
		s, address := h.seek(hash)
		tags := uint64(tagOf(hash)) * lows
		for {
			header, slots := groupAt(unsafe.Pointer(h), s.dir, address, unsafe.Sizeof(slot[K, V]{}))
			even, odd := words(header)
			for m := matching(even, odd, tags); m != 0; m &= m - 1 {
				if e := (*slot[K, V])(unsafe.Add(slots, m.first()*unsafe.Sizeof(slot[K, V]{}))); e.key == key {
					return e
				}
			}
			address++
			tags |= strayTags
			if odd>>56 == 0 {
				old := h.old()
				if s == old || !h.isLeft(hash) {
					return nil
				}
				s, address = old, old.first+h.moved
			}
		}
	}
}

// carefully returns a find for all tables.
//
//go:noinline
func (t *table[K, V]) carefully() func(t *table[K, V], key K) *slot[K, V] {
	return func(t *table[K, V], key K) *slot[K, V] {
		t.alive()
		h := t.head
		hash := t.hash(unsafe.Pointer(&key), unsafe.Sizeof(key))
		s, address := h.seek(hash)
		tags := uint64(tagOf(hash)) * lows
		e := t.findFrom(s, address, key, tags)
		if e == nil && h.isLeft(hash) {
			e = t.findFrom(h.old(), h.old().first+h.moved, key, tags|strayTags)
		}
		return e
	}
}

// findFrom looks for a key in the groups from an address on.
func (t *table[K, V]) findFrom(s *scale, address uint64, key K, tags uint64) *slot[K, V] {
	for {
		header, slots := groupAt(t.base(), s.dir, address, unsafe.Sizeof(slot[K, V]{}))
		even, odd := words(header)
		for m := matching(even, odd, tags); m != 0; m &= m - 1 {
			if e := slotAt[K, V](slots, m.first()); e.key == key {
				return e
			}
		}
		if odd>>56 == 0 {
			return nil
		}
		address++
		tags |= strayTags
	}
}

// insert makes a slot for a key that is not there, which the caller writes: all of it. It fails,
// and nothing is changed, if there is no memory.
func (t *table[K, V]) insert(hash uint64) (*slot[K, V], error) {
	h := t.head
	if h.count<<paceBits >= h.due {
		if err := t.move(); err != nil {
			return nil, err
		}
	}
	s, home := h.seek(hash)
	address := home
	header, slots := groupAt(t.base(), s.dir, address, unsafe.Sizeof(slot[K, V]{}))
	free := unused(words(header))
	for free == 0 {
		address++
		if err := t.reach(s, address); err != nil {
			return nil, err
		}
		header, slots = groupAt(t.base(), s.dir, address, unsafe.Sizeof(slot[K, V]{}))
		free = unused(words(header))
	}
	i, tag := free.first(), tagOf(hash)
	if home != address {
		tag |= stray
	}
	for ; home < address; home++ {
		addPast(t.header(s, home))
	}
	setTag(header, i, tag)
	h.count++
	h.changes++
	return slotAt[K, V](slots, i), nil
}

// remove empties the slot of a key whose hash is given. Other entries may move closer to their
// homes.
func (t *table[K, V]) remove(hash uint64, gone *slot[K, V]) {
	h := t.head
	s, from := h.seek(hash)
	header, address := t.owner(s, from, gone)
	if header == nil {
		s, from = h.old(), h.old().first+h.moved
		header, address = t.owner(s, from, gone)
	}
	for ; from < address; from++ {
		dropPast(t.header(s, from))
	}
	setTag(header, (uintptr(unsafe.Pointer(gone))-uintptr(t.slots(s, address)))/max(t.slotSize, 1), 0)
	h.count--
	h.changes++
	t.pull(s, address)
}

// pullMost is how many groups a deletion looks at to fill the slot that it emptied.
const pullMost = 2

// pull fills the slot that was emptied with a stray of the groups behind, then the slot where that
// was, and so on. Without it entries would lie farther from their homes the longer the map lives.
func (t *table[K, V]) pull(s *scale, to uint64) {
	h := t.head
	header, slots := groupAt(t.base(), s.dir, to, unsafe.Sizeof(slot[K, V]{}))
	for from, look := to, 0; past(t.header(s, from)) != 0 && look < pullMost; look++ {
		from++
		fromHeader, fromSlots := groupAt(t.base(), s.dir, from, unsafe.Sizeof(slot[K, V]{}))
		for m := strays(words(fromHeader)); m != 0; m &= m - 1 {
			i := m.first()
			e := slotAt[K, V](fromSlots, i)
			hash := t.hash(unsafe.Pointer(e), unsafe.Sizeof(e.key))
			its, home := h.seek(hash)
			if its == s && home > to {
				continue
			}
			tag := tagOf(hash)
			if its != s || home < to {
				tag |= stray
			}
			free := unused(words(header)).first()
			setTag(header, free, tag)
			*slotAt[K, V](slots, free) = *e
			setTag(fromHeader, i, 0)
			for ; to < from; to++ {
				dropPast(t.header(s, to))
			}
			header, slots = fromHeader, fromSlots
			break
		}
	}
}

// owner returns the group that a slot is in; nil if an entry whose search starts at the address
// cannot be there.
func (t *table[K, V]) owner(s *scale, address uint64, of *slot[K, V]) (unsafe.Pointer, uint64) {
	for {
		header, slots := groupAt(t.base(), s.dir, address, unsafe.Sizeof(*of))
		if uintptr(unsafe.Pointer(of))-uintptr(slots) < max(groupSlots*unsafe.Sizeof(*of), 1) {
			return header, address
		}
		if past(header) == 0 {
			return nil, 0
		}
		address++
	}
}
