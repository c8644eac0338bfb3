package table

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/typelayout"
)

// typed is what Map and Strings have in common: a table that knows its key and value types. Strings has a
// search of its own.
type typed[K comparable, V any] struct {
	find       func(t *typed[K, V], key K) (e *slot[K, V], touched byte)              // returns the slot of a key, nil if it is not there
	findBehind func(t *typed[K, V], hash uint64, key K) (e *slot[K, V], touched byte) // the rest of find
	untyped
}

// slot is an entry.
type slot[K comparable, V any] struct {
	key   K
	value V
}

// open makes an empty table with room for hint entries. op is named in errors. If it fails, the arena keeps nothing of it,
// unless callbacks of OnReset are running: then the memory goes when they are done.
func (t *typed[K, V]) open(a *arena.Arena, op string, hint int) (err error) {
	mustBeOpen(a, op)
	if err := t.prepare(a, op); err != nil {
		return err
	}
	if hint < 0 {
		return fmt.Errorf("table: %s: the hint %d is negative", op, hint)
	}
	mark := a.Mark()
	defer func() {
		if _, ending := a.Epoch(); err != nil && !ending { // callbacks must not rewind
			a.Rewind(mark)
		}
	}()
	b, err := a.TryAlloc(t.hasher.rootSize(), blockUnit)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	t.root = (*root)(unsafe.Pointer(unsafe.SliceData(b)))
	t.watchArena()
	t.root.seed = newSeed()
	if err := t.describe(typelayout.Describe(reflect.TypeFor[slot[K, V]]())); err != nil {
		return err
	}
	return t.openFor(uint64(hint), hint)
}

// prepare sets what a table has on the Go heap.
func (t *typed[K, V]) prepare(a *arena.Arena, op string) error {
	mustBePointerFree(reflect.TypeFor[K]())
	mustBePointerFree(reflect.TypeFor[V]())
	size := unsafe.Sizeof(slot[K, V]{})
	if uint64(size) > math.MaxInt32/(groupSlots*leafBlocks) {
		return fmt.Errorf("table: %s: entries of %d bytes are too large for a table", op, size)
	}
	t.arena, t.slotSize = a, size
	t.hasher.parts = partsOf(reflect.TypeFor[K]())
	if _, ok := any(*new(K)).(stringKey); ok {
		t.hasher.kind = byStoredHash
	} else if !plain(t.hasher.parts, unsafe.Sizeof(*new(K))) {
		t.hasher.kind = byParts
	}
	t.findBehind = t.behindHome()
	if t.find = t.checkedFind(); t.hasher.kind == byBytes {
		t.find = t.plainFind()
	}
	t.invalidate = func() {
		t.invalid, t.find = true, t.checkedFind()
		t.epoch, _ = a.Epoch()
	}
	return nil
}

// slotAt returns a slot of a group.
func slotAt[K comparable, V any](g group, i uintptr) *slot[K, V] {
	return (*slot[K, V])(g.at(i, unsafe.Sizeof(slot[K, V]{})))
}

// storedHash returns the hash of an entry, which has the given tag. If its key has a NaN, the low bits of the hash are
// those of low: the number of its leaf.
func (t *typed[K, V]) storedHash(e *slot[K, V], tag, low uint64) uint64 {
	if t.hasher.kind == byParts && e.key != e.key {
		return nanHash(tag, low)
	}
	return t.hash(unsafe.Pointer(e), unsafe.Sizeof(e.key))
}

// plainFind returns the search of tables whose keys count with all bytes. It does not check that the table
// is valid: invalidate puts checkedFind in its place.
//
// The search looks at the home of the key itself, which has nine of ten entries, and calls findBehind for the rest. It is as
// short as can be: while the processor waits for memory it looks ahead, and the shorter the code, the more searches it
// overlaps. It returns a byte of the quarter where the entry may be, which nobody needs: so the processor asks for that cache line
// at once, and the compiler keeps the load. It is a literal, because a method would load a dictionary. plainFind is not
// inlined, because calls in an inlined literal would not be.
//
//go:noinline
func (t *typed[K, V]) plainFind() func(t *typed[K, V], key K) (e *slot[K, V], touched byte) {
	return func(t *typed[K, V], key K) (e *slot[K, V], touched byte) {
		r := t.root
		var hash uint64
		switch p := unsafe.Pointer(&key); unsafe.Sizeof(key) { // a constant
		case 4:
			hash = r.seed.word(load4(p, 0))
		case 8:
			if unsafe.Alignof(key) == 8 {
				hash = r.seed.word(*(*uint64)(p)) // load8 would keep the key in memory
			} else {
				hash = r.seed.word(load8(p, 0))
			}
		case 16:
			hash = r.seed.pair(load8(p, 0), load8(p, 8))
		default:
			hash = r.seed.bytes(p, unsafe.Sizeof(key))
		}
		l := r.leafOf(hash)
		g := r.group(l, homeOf(hash, l.groups), unsafe.Sizeof(slot[K, V]{}))
		if unsafe.Sizeof(slot[K, V]{}) <= smallSlot {
			touched = *g.quarter(quarterOf(hash), unsafe.Sizeof(slot[K, V]{}))
		}
		even, odd := g.words()
		for m := matching(even, odd, tagOf(hash)*lowBits); m != 0; m &= m - 1 {
			if e := (*slot[K, V])(g.firstOf(m, unsafe.Sizeof(slot[K, V]{}))); e.key == key {
				return e, touched
			}
		}
		if !passes(odd, hash) {
			return nil, touched
		}
		return t.findBehind(t, hash, key)
	}
}

// behindHome returns the search of plainFind for keys that are not in their home, but may be behind it.
//
//go:noinline
func (t *typed[K, V]) behindHome() func(t *typed[K, V], hash uint64, key K) (e *slot[K, V], touched byte) {
	return func(t *typed[K, V], hash uint64, key K) (e *slot[K, V], touched byte) {
		r := t.root
		l := r.leafOf(hash)
		home := homeOf(hash, l.groups)
		pattern := tagOf(hash)*lowBits | displacedTags
		for i := l.after(home); i != home; i = l.after(i) {
			g := r.group(l, i, unsafe.Sizeof(slot[K, V]{}))
			even, odd := g.words()
			for m := matching(even, odd, pattern); m != 0; m &= m - 1 {
				if e := (*slot[K, V])(g.firstOf(m, unsafe.Sizeof(slot[K, V]{}))); e.key == key {
					return e, 0
				}
			}
			if !passes(odd, hash) {
				break
			}
		}
		return nil, 0
	}
}

// checkedFind returns a search for all tables, which panics if the table is invalid.
//
//go:noinline
func (t *typed[K, V]) checkedFind() func(t *typed[K, V], key K) (e *slot[K, V], touched byte) {
	return func(t *typed[K, V], key K) (e *slot[K, V], touched byte) {
		t.usable()
		p, ok := t.locate(t.hash(unsafe.Pointer(&key), unsafe.Sizeof(key)), key)
		if !ok {
			return nil, 0
		}
		return slotAt[K, V](p.g, p.slot), 0
	}
}

// place is where an entry is.
type place struct {
	number uint32 // of the leaf
	i      uint32 // the group's number in the leaf
	g      group
	slot   uintptr // of the group
}

// placeOf returns the place of an entry with a hash.
func (t *typed[K, V]) placeOf(hash uint64, e *slot[K, V]) (p place) {
	r := t.root
	p.number = r.leafIndex(hash)
	l := r.leafAt(p.number)
	size := unsafe.Sizeof(*e)
	for p.i = homeOf(hash, l.groups); ; p.i = l.after(p.i) {
		p.g = r.group(l, p.i, size)
		switch off := uintptr(unsafe.Pointer(e)) - uintptr(p.g.slots); {
		case size == 0 && off == 0: // all slots of a group have one address, but there is only one entry
			p.slot = p.g.used().first()
			return p
		case off < groupSlots*size:
			p.slot = off / size
			return p
		}
	}
}

// locate searches for a key with a hash.
func (t *typed[K, V]) locate(hash uint64, key K) (p place, ok bool) {
	r := t.root
	p.number = r.leafIndex(hash)
	l := r.leafAt(p.number)
	home := homeOf(hash, l.groups)
	pattern := tagOf(hash) * lowBits
	for p.i = home; ; {
		p.g = r.group(l, p.i, t.slotSize)
		even, odd := p.g.words()
		for m := matching(even, odd, pattern); m != 0; m &= m - 1 {
			if p.slot = m.first(); slotAt[K, V](p.g, p.slot).key == key {
				return p, true
			}
		}
		if !passes(odd, hash) {
			return p, false
		}
		pattern |= displacedTags
		if p.i = l.after(p.i); p.i == home {
			return p, false
		}
	}
}
