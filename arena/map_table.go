package arena

import (
	"fmt"
	"reflect"
	"unsafe"
)

// table is what Map and StringMap have in common: everything but how a key is looked for.
type table[K comparable, V any] struct {
	ground
	keys  hashing
	parts []part // of a key: those that count
}

// slot is an entry.
type slot[K comparable, V any] struct {
	key   K
	value V
}

// hashing is how keys are hashed.
type hashing uint8

const (
	byBytes hashing = iota // all of the key
	byParts                // what counts of it
	known                  // it is a text, which has its hash inside
)

// open makes an empty table with room for hint entries.
func (t *table[K, V]) open(a *Arena, op string, hint int) error {
	a.usable(op)
	mustBePointerFree((*K)(nil))
	mustBePointerFree((*V)(nil))
	if hint < 0 {
		return fmt.Errorf("arena: %s: the hint %d is negative", op, hint)
	}
	t.parts = partsOf(reflect.TypeFor[K]())
	if _, ok := any(*new(K)).(text); ok {
		t.keys = known
	} else if !plain(t.parts, unsafe.Sizeof(*new(K))) {
		t.keys = byParts
	}
	return t.ground.open(a, hint, unsafe.Sizeof(slot[K, V]{}))
}

// hash hashes a key.
func (t *table[K, V]) hash(key *K) uint64 {
	p := unsafe.Pointer(key)
	switch t.keys {
	case known:
		return (*text)(p).spread()
	case byParts:
		return t.head.seed.parts(p, t.parts)
	}
	switch unsafe.Sizeof(*key) {
	case 4:
		return t.head.seed.word(load4(p, 0))
	case 8:
		return t.head.seed.word(load8(p, 0))
	case 16:
		return t.head.seed.pair(load8(p, 0), load8(p, 8))
	}
	return t.head.seed.bytes(p, unsafe.Sizeof(*key))
}

// slotAt returns a slot of a group.
func slotAt[K comparable, V any](slots unsafe.Pointer, i uintptr) *slot[K, V] {
	return (*slot[K, V])(unsafe.Add(slots, i*unsafe.Sizeof(slot[K, V]{})))
}

// find returns the slot of a key, nil if it is not there, and the key's hash.
func (t *table[K, V]) find(key K) (*slot[K, V], uint64) {
	t.alive()
	h := t.head
	var hash uint64
	if unsafe.Sizeof(key) == 8 && t.keys == byBytes {
		hash = h.seed.word(load8(unsafe.Pointer(&key), 0)) // not a call
	} else {
		hash = t.hash(&key)
	}
	s, address := h.seek(hash)
	tags := uint64(tagOf(hash)) * lows
	for {
		header, slots := groupAt(t.base, s.dir, address, unsafe.Sizeof(slot[K, V]{}))
		even, odd := words(header)
		for m := matching(even, odd, tags); m != 0; m &= m - 1 {
			if e := (*slot[K, V])(unsafe.Add(slots, m.first()*unsafe.Sizeof(slot[K, V]{}))); e.key == key {
				return e, hash
			}
		}
		if odd>>56 == 0 {
			return nil, hash
		}
		address++
	}
}

// insert makes a slot for a key that is not there, which the caller writes: all of it. It fails, and nothing
// is changed, if there is no memory.
func (t *table[K, V]) insert(hash uint64, tag uint8) (*slot[K, V], error) {
	t.remember()
	h := t.head
	if h.count<<paceBits >= h.due {
		if err := t.moveHome(); err != nil {
			return nil, err
		}
	}
	s, home := h.seek(hash)
	address := home
	header, slots := groupAt(t.base, s.dir, address, unsafe.Sizeof(slot[K, V]{}))
	free := unused(words(header))
	for free == 0 {
		address++
		if err := t.reach(s, address); err != nil {
			return nil, err
		}
		header, slots = groupAt(t.base, s.dir, address, unsafe.Sizeof(slot[K, V]{}))
		free = unused(words(header))
	}
	i := free.pick(address == home)
	for ; home < address; home++ {
		addPast(t.header(s, home))
	}
	setTag(header, i, tag)
	h.count++
	h.changes++
	return slotAt[K, V](slots, i), nil
}

// remove empties the slot of a key whose hash is given.
func (t *table[K, V]) remove(hash uint64, gone *slot[K, V]) {
	t.remember()
	size := max(unsafe.Sizeof(*gone), 1)
	s, address := t.head.seek(hash)
	for {
		header, slots := groupAt(t.base, s.dir, address, unsafe.Sizeof(*gone))
		if off := uintptr(unsafe.Pointer(gone)) - uintptr(slots); off < groupSlots*size {
			setTag(header, off/size, 0)
			break
		}
		dropPast(header)
		address++
	}
	t.head.count--
	t.head.changes++
}
