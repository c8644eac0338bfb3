package table

import (
	"fmt"
	"iter"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
)

// Map is a hash table in an arena, for large maps that the garbage collector should not scan. Keys
// and values are without pointers; keys are equal as Go's == says, so NaN is never found. See
// Strings for strings.
//
// From 100,000 entries on, a map takes at most 1.3 times the entries themselves if these have 16
// bytes or more, also while it grows; up to 1.5 times from 20,000 on, 1.7 from 10,000 on, 3.5 from
// 2,000 on, and below six times or some 600 bytes: tables of fewer than 64 groups double, and what
// they leave behind is free again only with the arena's next Reset. A hint avoids that, and saves
// the time of growing, which is most of that of inserting.
//
// The map belongs to its arena: using it after Reset, Close, or a Rewind that takes memory of it
// back, is a *guard.Violation, and so is using the zero Map or nil (in
// Get and Lookup nil is Go's own panic); callbacks of OnReset may still use it. It must not be copied. It is for one goroutine at a time; several may search and iterate at
// once while none changes it.
//
// It does not shrink. It hashes with a secret of its own, so nobody can prepare keys that collide;
// but NaNs all have one hash, and very many of them make it slow.
type Map[K comparable, V any] struct{ table[K, V] }

// NewMap makes an empty map that does not grow before it has hint entries. It panics if K or V
// contains pointers, naming the field, if hint is negative, and with an error that wraps
// guard.ErrNoMemory if the arena is full.
func NewMap[K comparable, V any](a *arena.Arena, hint int) *Map[K, V] {
	return must(TryNewMap[K, V](a, hint))
}

// TryNewMap is NewMap that returns its error: out of memory, or a negative hint. It panics if K or V
// contains pointers.
func TryNewMap[K comparable, V any](a *arena.Arena, hint int) (*Map[K, V], error) {
	m := new(Map[K, V])
	if err := m.open(a, "NewMap", hint); err != nil {
		return nil, err
	}
	return m, nil
}

// made panics where no NewMap made the map.
func (m *Map[K, V]) made() {
	if m == nil || m.find == nil {
		panic(zeroMap("Map"))
	}
}

// zeroMap returns the violation of using a zero Map or Strings.
//
//go:noinline
func zeroMap(typ string) *guard.Violation {
	return &guard.Violation{Op: "table." + typ, Kind: guard.ZeroValue, Detail: "table.New" + typ + " makes a " + typ}
}

// mustBeOpen panics where the arena must not be used.
func mustBeOpen(a *arena.Arena, op string) {
	if err := a.Err(); err != nil {
		v := err.(*guard.Violation)
		v.Op = "table." + op
		panic(v)
	}
}

// mustBePointerFree panics if a type contains pointers.
func mustBePointerFree(t reflect.Type) {
	if err := pointerfree.Check(t); err != nil {
		panic(fmt.Errorf("table: %w", err))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int {
	m.made()
	m.alive()
	return int(m.head.count)
}

// Get returns the value of k, and whether it is there.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	if s := search(m, k, m.find, zeroMap); s != nil {
		return s.value, true
	}
	return v, false
}

// Lookup returns a pointer to the value of k, nil if it is not there. The pointer is valid until
// the next deletion or insertion, one that fails included.
func (m *Map[K, V]) Lookup(k K) *V {
	if s := search(m, k, m.find, zeroMap); s != nil {
		return &s.value
	}
	return nil
}

// search calls find, which is m.find, unless the map is a zero Map. It has what it calls as parameters
// for the reason that bump has, so that Get and Lookup are inlined.
func search[K comparable, V any](m *Map[K, V], k K, find func(t *table[K, V], key K) *slot[K, V], zeroMap func(typ string) *guard.Violation) *slot[K, V] {
	if find == nil {
		panic(zeroMap("Map"))
	}
	return find(&m.table, k)
}

// Put sets the value of k. It panics with an error that wraps guard.ErrNoMemory if the table must
// grow and the arena is full.
func (m *Map[K, V]) Put(k K, v V) {
	if err := m.TryPut(k, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. The map then has the entries that it had.
func (m *Map[K, V]) TryPut(k K, v V) error {
	if m == nil {
		panic(zeroMap("Map"))
	}
	s := search(m, k, m.find, zeroMap)
	if s != nil {
		s.value = v
		return nil
	}
	s, err := m.insert(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)))
	if err != nil {
		return err
	}
	*s = slot[K, V]{k, v}
	m.checked()
	return nil
}

// Entry returns a pointer to the value of k, and whether k was inserted just now, with a zero
// value. The pointer is valid until the next deletion or insertion, one that fails included. It
// panics as Put does.
func (m *Map[K, V]) Entry(k K) (v *V, inserted bool) {
	m.made()
	if s := m.find(&m.table, k); s != nil {
		return &s.value, false
	}
	s := must(m.insertKey(k))
	return &s.value, true
}

// TryEntry is Entry that returns its error. The map then has the entries that it had.
func (m *Map[K, V]) TryEntry(k K) (v *V, inserted bool, err error) {
	m.made()
	if s := m.find(&m.table, k); s != nil {
		return &s.value, false, nil
	}
	s, err := m.insertKey(k)
	if err != nil {
		return nil, false, err
	}
	return &s.value, true, nil
}

// insertKey makes an entry with a zero value for a key that is not there.
func (m *Map[K, V]) insertKey(k K) (*slot[K, V], error) {
	s, err := m.insert(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)))
	if err != nil {
		return nil, err
	}
	*s = slot[K, V]{key: k}
	m.checked()
	return s, nil
}

// Delete removes k and tells whether it was there.
func (m *Map[K, V]) Delete(k K) bool {
	m.made()
	s := m.find(&m.table, k)
	if s == nil {
		return false
	}
	m.remove(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)), s)
	m.checked()
	return true
}

// All iterates over the entries, in no order that means anything. The map may be changed meanwhile:
// an entry that is deleted before it was yielded is not, one that is inserted may or may not be,
// and none is yielded twice.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.made()
		m.alive()
		m.each(func(s *slot[K, V]) bool { return yield(s.key, s.value) })
	}
}
