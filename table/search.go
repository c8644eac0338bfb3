package table

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// typed is what Map and Strings have in common: a table that knows its key and value types. Strings has a
// search of its own.
type typed[K comparable, V any] struct {
	find func(t *typed[K, V], key K) *slot[K, V] // returns the slot of a key, nil if it is not there
	untyped
}

// slot is an entry.
type slot[K comparable, V any] struct {
	key   K
	value V
}

// open makes an empty table with room for hint entries. op is named in errors.
func (t *typed[K, V]) open(a *arena.Arena, op string, hint int) error {
	mustBeOpen(a, op)
	mustBePointerFree(reflect.TypeFor[K]())
	mustBePointerFree(reflect.TypeFor[V]())
	if hint < 0 {
		return fmt.Errorf("table: %s: the hint %d is negative", op, hint)
	}
	if size := unsafe.Sizeof(slot[K, V]{}); uint64(size) > math.MaxInt/(segmentGroups*groupSlots) {
		return fmt.Errorf("table: %s: a table of entries of %d bytes does not fit into addresses: %w", op, size, guard.ErrNoMemory)
	}
	keys := hasher{parts: partsOf(reflect.TypeFor[K]())}
	if _, ok := any(*new(K)).(stringKey); ok {
		keys.kind = byStoredHash
	} else if !plain(keys.parts, unsafe.Sizeof(*new(K))) {
		keys.kind = byParts
	}
	if t.find = t.checkedFind(); keys.kind == byBytes {
		t.find = t.plainFind()
	}
	t.invalidate = func() {
		t.invalid, t.find = true, t.checkedFind()
		t.epoch, _ = a.Epoch()
	}
	return t.untyped.open(a, hint, keys, unsafe.Sizeof(slot[K, V]{}))
}

// slotAt returns a slot of a group.
func slotAt[K comparable, V any](slots unsafe.Pointer, i uintptr) *slot[K, V] {
	return (*slot[K, V])(unsafe.Add(slots, i*unsafe.Sizeof(slot[K, V]{})))
}

// plainFind returns the search of tables whose keys count with all bytes. It does not check that the table
// is valid: invalidate puts checkedFind in its place.
//
// The search calls nothing, needs no stack, and is as short as can be: while the processor waits for memory
// it looks ahead, and the shorter the code, the more searches it overlaps. It is a literal, because a method
// would load a dictionary. plainFind is not inlined, because calls in an inlined literal would not be.
//
//go:noinline
func (t *typed[K, V]) plainFind() func(t *typed[K, V], key K) *slot[K, V] {
	return func(t *typed[K, V], key K) *slot[K, V] {
		r := t.root
		var hash uint64
		switch p := unsafe.Pointer(&key); unsafe.Sizeof(key) { // a constant
		case 4:
			hash = r.seed.word(load4(p, 0))
		case 8:
			hash = r.seed.word(load8(p, 0))
		case 16:
			hash = r.seed.pair(load8(p, 0), load8(p, 8))
		default:
			hash = r.seed.bytes(p, unsafe.Sizeof(key))
		}
		l, address := r.homeOf(hash)
		tags := uint64(tagOf(hash)) * lowBits
		for {
			header, slots := groupAt(unsafe.Pointer(r), l.dir, address, unsafe.Sizeof(slot[K, V]{}))
			even, odd := words(header)
			for m := matching(even, odd, tags); m != 0; m &= m - 1 {
				if e := (*slot[K, V])(unsafe.Add(slots, m.first()*unsafe.Sizeof(slot[K, V]{}))); e.key == key {
					return e
				}
			}
			address++
			tags |= displacedTags
			if odd>>56 == 0 {
				old := r.current()
				if l == old || !r.lags(hash) {
					return nil
				}
				l, address = old, old.first+r.moved
			}
		}
	}
}

// checkedFind returns a search for all tables, which panics if the table is invalid.
//
//go:noinline
func (t *typed[K, V]) checkedFind() func(t *typed[K, V], key K) *slot[K, V] {
	return func(t *typed[K, V], key K) *slot[K, V] {
		t.usable()
		r := t.root
		hash := t.hash(unsafe.Pointer(&key), unsafe.Sizeof(key))
		l, address := r.homeOf(hash)
		tags := uint64(tagOf(hash)) * lowBits
		e := t.findFrom(l, address, key, tags)
		if e == nil && r.lags(hash) {
			e = t.findFrom(r.current(), r.current().first+r.moved, key, tags|displacedTags)
		}
		return e
	}
}

// findFrom searches for a key from a group on. tags has the tag of the key in every byte.
func (t *typed[K, V]) findFrom(l *layout, address uint64, key K, tags uint64) *slot[K, V] {
	for {
		header, slots := groupAt(t.base(), l.dir, address, unsafe.Sizeof(slot[K, V]{}))
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
		tags |= displacedTags
	}
}

// insert makes a slot for a key that is not there. The caller must write the whole slot. insert fails, and
// changes nothing, if the arena is full.
func (t *typed[K, V]) insert(hash uint64) (*slot[K, V], error) {
	r := t.root
	if r.count<<fractionBits >= r.nextMove {
		if err := t.move(); err != nil {
			return nil, err
		}
	}
	l, home := r.homeOf(hash)
	address := home
	header, slots := groupAt(t.base(), l.dir, address, unsafe.Sizeof(slot[K, V]{}))
	free := freeSlots(words(header))
	for free == 0 {
		address++
		if err := t.ensureGroup(l, address); err != nil {
			return nil, err
		}
		header, slots = groupAt(t.base(), l.dir, address, unsafe.Sizeof(slot[K, V]{}))
		free = freeSlots(words(header))
	}
	i, tag := free.first(), tagOf(hash)
	if home != address {
		tag |= displaced
	}
	for ; home < address; home++ {
		addOverflow(t.header(l, home))
	}
	setTag(header, i, tag)
	r.count++
	r.changes++
	return slotAt[K, V](slots, i), nil
}

// remove empties the slot of a key with the given hash. Displaced entries may move into it, closer to their
// homes.
func (t *typed[K, V]) remove(hash uint64, gone *slot[K, V]) {
	r := t.root
	l, from := r.homeOf(hash)
	header, address := t.groupOf(l, from, gone)
	if header == nil {
		l, from = r.current(), r.current().first+r.moved
		header, address = t.groupOf(l, from, gone)
	}
	for ; from < address; from++ {
		dropOverflow(t.header(l, from))
	}
	setTag(header, (uintptr(unsafe.Pointer(gone))-uintptr(t.slots(l, address)))/max(t.slotSize, 1), 0)
	r.count--
	r.changes++
	t.fillGap(l, address)
}

// fillReach is how many groups a deletion searches for an entry to fill the slot that it emptied.
const fillReach = 2

// fillGap fills the slot that was emptied in group to with a displaced entry of the next groups, then the
// slot of that entry, and so on. Without it entries would lie farther from their homes the longer the table
// lives.
func (t *typed[K, V]) fillGap(l *layout, to uint64) {
	r := t.root
	header, slots := groupAt(t.base(), l.dir, to, unsafe.Sizeof(slot[K, V]{}))
	for from, look := to, 0; overflow(t.header(l, from)) != 0 && look < fillReach; look++ {
		from++
		fromHeader, fromSlots := groupAt(t.base(), l.dir, from, unsafe.Sizeof(slot[K, V]{}))
		for m := displacedSlots(words(fromHeader)); m != 0; m &= m - 1 {
			i := m.first()
			e := slotAt[K, V](fromSlots, i)
			hash := t.hash(unsafe.Pointer(e), unsafe.Sizeof(e.key))
			in, home := r.homeOf(hash)
			if in == l && home > to {
				continue
			}
			tag := tagOf(hash)
			if in != l || home < to {
				tag |= displaced
			}
			free := freeSlots(words(header)).first()
			setTag(header, free, tag)
			*slotAt[K, V](slots, free) = *e
			setTag(fromHeader, i, 0)
			for ; to < from; to++ {
				dropOverflow(t.header(l, to))
			}
			header, slots = fromHeader, fromSlots
			break
		}
	}
}

// groupOf returns the group that contains a slot: its header and number. It returns nil if no entry whose
// search begins at the given group can be in the slot.
func (t *typed[K, V]) groupOf(l *layout, address uint64, of *slot[K, V]) (unsafe.Pointer, uint64) {
	for {
		header, slots := groupAt(t.base(), l.dir, address, unsafe.Sizeof(*of))
		if uintptr(unsafe.Pointer(of))-uintptr(slots) < max(groupSlots*unsafe.Sizeof(*of), 1) {
			return header, address
		}
		if overflow(header) == 0 {
			return nil, 0
		}
		address++
	}
}
