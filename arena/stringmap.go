package arena

import (
	"fmt"
	"iter"
	"math"
	"unsafe"
)

// StringMap is a hash table in an arena whose keys are strings, copied into the arena. It is a Map in all else:
// what is said there of memory, lifetime and concurrency holds. A key is at most 4 GiB long; the bytes of a key that
// was deleted are free again when the arena is reset.
type StringMap[V any] struct {
	table[text, V]
	next, end uint64 // offsets: where the next key's bytes go
}

// text is a key: where its bytes are, and the half of its hash that says where its home is.
type text struct {
	off  uint64
	size uint32
	hash uint32
}

// spread returns the hash as it is laid over a scale.
func (k text) spread() uint64 { return uint64(k.hash)<<32 | mark }

// NewStringMap makes an empty map, as NewMap does.
func NewStringMap[V any](a *Arena, hint int) *StringMap[V] {
	m := new(StringMap[V])
	if err := m.open(a, "NewStringMap", hint); err != nil {
		panic(err)
	}
	return m
}

// Len returns the number of entries.
func (m *StringMap[V]) Len() int {
	m.alive()
	return int(m.head.count)
}

// Get returns the value of key, and whether it is there.
func (m *StringMap[V]) Get(key string) (v V, ok bool) {
	if s, _, _ := m.look(key); s != nil {
		return s.value, true
	}
	return v, false
}

// Lookup returns a pointer to the value of key, nil if it is not there. The pointer is valid until
// the next insertion or deletion.
func (m *StringMap[V]) Lookup(key []byte) *V {
	if s, _, _ := m.look(view(key)); s != nil {
		return &s.value
	}
	return nil
}

// Put sets the value of key. It panics with an error that wraps guard.ErrNoMemory if the arena is full.
func (m *StringMap[V]) Put(key string, v V) {
	if err := m.TryPut(key, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. The map is then as it was.
func (m *StringMap[V]) TryPut(key string, v V) error {
	s, _, err := m.upsert(key)
	if err == nil {
		s.value = v
	}
	return err
}

// Entry returns a pointer to the value of key, and whether key was inserted just now, with a zero value. The pointer
// is valid until the next insertion or deletion. It panics as Put does.
func (m *StringMap[V]) Entry(key []byte) (v *V, inserted bool) {
	s, inserted, err := m.upsert(view(key))
	if err != nil {
		panic(err)
	}
	return &s.value, inserted
}

// Delete removes key and tells whether it was there.
func (m *StringMap[V]) Delete(key string) bool {
	s, hash, _ := m.look(key)
	if s == nil {
		return false
	}
	m.remove(hash, s)
	m.checked()
	return true
}

// All iterates over the entries, as Map.All does. The strings lie in the arena and die with it.
func (m *StringMap[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		m.alive()
		m.each(func(s *slot[text, V]) bool { return yield(m.string(&s.key), s.value) })
	}
}

// view is key as a string, for as long as key does not change.
func view(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// string returns the bytes of a key.
func (m *StringMap[V]) string(k *text) string {
	return unsafe.String((*byte)(m.at(k.off)), int(k.size))
}

// look returns the slot of a key, nil if it is not there, and its hash and tag.
func (m *StringMap[V]) look(key string) (*slot[text, V], uint64, uint8) {
	m.alive()
	full := m.head.seed.bytes(unsafe.Pointer(unsafe.StringData(key)), uintptr(len(key)))
	tag := tagOf(full)
	hash := full>>32<<32 | mark
	s, address := m.head.seek(hash)
	tags := uint64(tag) * lows
	for {
		header, slots := groupAt(m.base, s.dir, address, unsafe.Sizeof(slot[text, V]{}))
		even, odd := words(header)
		for l := matching(even, odd, tags); l != 0; l &= l - 1 {
			e := slotAt[text, V](slots, l.first())
			if e.key.hash == uint32(full>>32) && int(e.key.size) == len(key) && m.string(&e.key) == key {
				return e, hash, tag
			}
		}
		if odd>>56 == 0 {
			if old := m.head.old(); s != old && m.head.isLeft(hash) {
				s, address = old, old.first+m.head.moved
				continue
			}
			return nil, hash, tag
		}
		address++
	}
}

// upsert returns the slot of a key, which it inserts if it is not there.
func (m *StringMap[V]) upsert(key string) (s *slot[text, V], inserted bool, err error) {
	s, hash, tag := m.look(key)
	if s != nil {
		return s, false, nil
	}
	off, err := m.copy(key)
	if err != nil {
		return nil, false, err
	}
	if s, err = m.insert(hash, tag); err != nil {
		return nil, false, err
	}
	m.next = off + uint64(len(key))
	*s = slot[text, V]{key: text{off, uint32(len(key)), uint32(hash >> 32)}}
	m.checked()
	return s, true, nil
}

const (
	keyBlock      = 8 << 10 // bytes of keys that are allocated at a time, in all but small maps
	keyBlockLeast = 256
)

// copy copies a key's bytes to where the next key goes. It is lost again if m.next is not moved behind it.
func (m *StringMap[V]) copy(key string) (off uint64, err error) {
	n := uint64(len(key))
	if n > math.MaxUint32 {
		return 0, fmt.Errorf("arena: StringMap: a key of %d bytes is longer than 4 GiB", n)
	}
	if n > m.end-m.next {
		size := max(n, min(max(m.head.count*8, keyBlockLeast), keyBlock))
		if m.next, err = m.take(size, 1, granule); err != nil {
			m.end = m.next
			return 0, err
		}
		m.end = m.next + size
	}
	copy(unsafe.Slice((*byte)(m.at(m.next)), n), key)
	return m.next, nil
}
