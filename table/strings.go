package table

import (
	"fmt"
	"iter"
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
)

// Strings is a hash table in an arena whose keys are strings, copied into the arena. It is a Map
// in all else: what is said there of memory, lifetime and concurrency holds. A key is at most 4 GiB
// long; the bytes of a key that was deleted are free again when the arena is reset.
type Strings[V any] struct {
	table[text, V]
	next, end uint64 // offsets: where the next key's bytes go
}

// text is a key: where its bytes are, and half of their hash.
type text struct {
	off  uint64
	size uint32
	hash uint32
}

// spread makes a hash of the half that a text keeps.
func spread(half uint32) uint64 { return uint64(half)<<32 | uint64(uint8(half))<<tagShift | nonzero }

// NewStrings makes an empty table that does not grow before it has hint entries. What NewMap says of
// hints and panics holds.
func NewStrings[V any](a *arena.Arena, hint int) *Strings[V] { return must(TryNewStrings[V](a, hint)) }

// TryNewStrings is NewStrings that returns its error: out of memory, or a negative hint. It panics if
// V contains pointers.
func TryNewStrings[V any](a *arena.Arena, hint int) (*Strings[V], error) {
	m := new(Strings[V])
	if err := m.open(a, "NewStrings", hint); err != nil {
		return nil, err
	}
	return m, nil
}

// made panics where no NewStrings made the table.
func (m *Strings[V]) made() {
	if m == nil || m.head == nil {
		panic(zeroMap("Strings"))
	}
}

// Len returns the number of entries.
func (m *Strings[V]) Len() int {
	m.made()
	m.alive()
	return int(m.head.count)
}

// Get returns the value of key, and whether it is there.
func (m *Strings[V]) Get(key string) (v V, ok bool) {
	if s, _ := m.look(key); s != nil {
		return s.value, true
	}
	return v, false
}

// GetBytes is Get for a key in a slice.
func (m *Strings[V]) GetBytes(key []byte) (v V, ok bool) { return m.Get(view(key)) }

// Lookup returns a pointer to the value of key, nil if it is not there. The pointer is valid until
// the next deletion or insertion, one that fails included.
func (m *Strings[V]) Lookup(key string) *V {
	if s, _ := m.look(key); s != nil {
		return &s.value
	}
	return nil
}

// LookupBytes is Lookup for a key in a slice.
func (m *Strings[V]) LookupBytes(key []byte) *V { return m.Lookup(view(key)) }

// Put sets the value of key. It panics with an error that wraps guard.ErrNoMemory if the arena is
// full.
func (m *Strings[V]) Put(key string, v V) {
	if err := m.TryPut(key, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. The table then has the entries that it had.
func (m *Strings[V]) TryPut(key string, v V) error {
	s, _, err := m.upsert(key)
	if err == nil {
		s.value = v
	}
	return err
}

// Entry returns a pointer to the value of key, and whether key was inserted just now, with a zero
// value. The pointer is valid until the next deletion or insertion, one that fails included. It
// panics as Put does.
func (m *Strings[V]) Entry(key string) (v *V, inserted bool) {
	s, inserted, err := m.upsert(key)
	if err != nil {
		panic(err)
	}
	return &s.value, inserted
}

// TryEntry is Entry that returns its error. The table then has the entries that it had.
func (m *Strings[V]) TryEntry(key string) (v *V, inserted bool, err error) {
	s, inserted, err := m.upsert(key)
	if err != nil {
		return nil, false, err
	}
	return &s.value, inserted, nil
}

// EntryBytes is Entry for a key in a slice. Only a key that is inserted is copied.
func (m *Strings[V]) EntryBytes(key []byte) (v *V, inserted bool) { return m.Entry(view(key)) }

// TryEntryBytes is EntryBytes that returns its error.
func (m *Strings[V]) TryEntryBytes(key []byte) (v *V, inserted bool, err error) {
	return m.TryEntry(view(key))
}

// Delete removes key and tells whether it was there.
func (m *Strings[V]) Delete(key string) bool {
	s, hash := m.look(key)
	if s == nil {
		return false
	}
	m.remove(hash, s)
	m.checked()
	return true
}

// DeleteBytes is Delete for a key in a slice.
func (m *Strings[V]) DeleteBytes(key []byte) bool { return m.Delete(view(key)) }

// All iterates over the entries, as Map.All does. The strings lie in the arena and die with it.
func (m *Strings[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		m.made()
		m.alive()
		m.each(func(s *slot[text, V]) bool { return yield(m.string(&s.key), s.value) })
	}
}

// view is key as a string, for as long as key does not change.
func view(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// string returns the bytes of a key.
func (m *Strings[V]) string(k *text) string {
	return unsafe.String((*byte)(m.at(k.off)), int(k.size))
}

// look returns the slot of a key, nil if it is not there, and its hash.
func (m *Strings[V]) look(key string) (*slot[text, V], uint64) {
	m.made()
	m.alive()
	h := m.head
	half := uint32(h.seed.bytes(unsafe.Pointer(unsafe.StringData(key)), uintptr(len(key))) >> 32)
	hash := spread(half)
	s, address := h.seek(hash)
	tags := uint64(tagOf(hash)) * lows
	for {
		header, slots := groupAt(m.base(), s.dir, address, unsafe.Sizeof(slot[text, V]{}))
		even, odd := words(header)
		for l := matching(even, odd, tags); l != 0; l &= l - 1 {
			e := slotAt[text, V](slots, l.first())
			if e.key.hash == half && int(e.key.size) == len(key) && m.string(&e.key) == key {
				return e, hash
			}
		}
		address++
		tags |= strayTags
		if odd>>56 == 0 {
			old := h.old()
			if s == old || !h.isLeft(hash) {
				return nil, hash
			}
			s, address = old, old.first+h.moved
		}
	}
}

// upsert returns the slot of a key, which it inserts if it is not there.
func (m *Strings[V]) upsert(key string) (s *slot[text, V], inserted bool, err error) {
	s, hash := m.look(key)
	if s != nil {
		return s, false, nil
	}
	if s, err = m.insert(hash); err != nil {
		return nil, false, err
	}
	off, err := m.copy(key)
	if err != nil {
		m.remove(hash, s)
		return nil, false, err
	}
	*s = slot[text, V]{key: text{off, uint32(len(key)), uint32(hash >> 32)}}
	m.checked()
	return s, true, nil
}

// keyBlock is the bytes of keys that are allocated at a time, once there are so many.
const keyBlock = 8 << 10

// copy copies a key's bytes into the arena.
func (m *Strings[V]) copy(key string) (off uint64, err error) {
	n := uint64(len(key))
	block := min(max(m.head.count*8, 256), keyBlock)
	switch {
	case n > math.MaxUint32:
		return 0, fmt.Errorf("table: Strings: a key of %d bytes is longer than 4 GiB", n)
	case n <= m.end-m.next:
		off = m.next
		m.next += n
	case n > block/4:
		// Alone, for the rest of the block would be lost.
		if off, err = m.take(n, 1, 8); err != nil {
			return 0, err
		}
	default:
		if off, err = m.take(block, 1, 8); err != nil {
			return 0, err
		}
		m.next, m.end = off+n, off+block
	}
	copy(unsafe.Slice((*byte)(m.at(off)), n), key)
	return off, nil
}
