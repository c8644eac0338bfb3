package arena

import (
	"iter"
	"unsafe"
)

// Map is a hash table in an arena.
type Map[K comparable, V any] struct{ table[K, V] }

// NewMap makes an empty map with room for hint entries.
func NewMap[K comparable, V any](a *Arena, hint int) *Map[K, V] {
	m := new(Map[K, V])
	if err := m.open(a, "NewMap", hint); err != nil {
		panic(err)
	}
	return m
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int {
	m.alive()
	return int(m.head.count)
}

// Get returns the value of k, and whether it is there.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	if s := m.find(&m.table, k); s != nil {
		return s.value, true
	}
	return v, false
}

// Lookup returns a pointer to the value of k, nil if it is not there. The pointer is valid until the next
// insertion or deletion.
func (m *Map[K, V]) Lookup(k K) *V {
	if s := m.find(&m.table, k); s != nil {
		return &s.value
	}
	return nil
}

// Put sets the value of k.
func (m *Map[K, V]) Put(k K, v V) {
	if err := m.TryPut(k, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error.
func (m *Map[K, V]) TryPut(k K, v V) error {
	s := m.find(&m.table, k)
	if s != nil {
		s.value = v
		return nil
	}
	hash := m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k))
	s, err := m.insert(hash, tagOf(hash))
	if err != nil {
		return err
	}
	*s = slot[K, V]{k, v}
	m.checked()
	return nil
}

// Entry returns a pointer to the value of k, and whether k was inserted just now, with a zero value.
func (m *Map[K, V]) Entry(k K) (v *V, inserted bool) {
	s := m.find(&m.table, k)
	if s != nil {
		return &s.value, false
	}
	hash := m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k))
	s = must(m.insert(hash, tagOf(hash)))
	*s = slot[K, V]{key: k}
	m.checked()
	return &s.value, true
}

// Delete removes k and tells whether it was there.
func (m *Map[K, V]) Delete(k K) bool {
	s := m.find(&m.table, k)
	if s == nil {
		return false
	}
	m.remove(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)), s)
	m.checked()
	return true
}

// All iterates over the entries.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.alive()
		m.each(func(s *slot[K, V]) bool { return yield(s.key, s.value) })
	}
}
