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

// Map is a hash table in an arena, with keys and values that contain no Go pointers. For keys that are
// strings, see Strings. NewMap makes one; using the zero Map, or nil, is a *guard.Violation (a nil *Map in Get
// and Lookup is Go's own panic). It must not be copied.
//
// Keys are equal as Go's == says: 0 and -0 are one key, of which Put keeps the one written last. NaN is never found:
// each Put of a NaN inserts another entry, which comes in iterations and which only Clear removes. Hashes depend on a
// secret of the map, so nobody can prepare keys that collide.
//
// A Map is for one goroutine at a time; several may search and iterate at once while none changes it. It
// is valid until the arena is reset or closed, or rewound to a Mark older than the map's last growth: using
// it afterwards is a *guard.Violation. OnReset callbacks may still use it.
//
// Memory in the arena while a map grows without a hint, at most, in times the bytes of its entries:
//
//	entries        16 bytes each   64 bytes or more each
//	from 100,000   1.3             1.25
//	from 20,000    1.4             1.3
//	from 2,000     2.0             1.7
//	from 200       2.7             2.5
//	from 16        4.3             2.6
//	fewer          15 entries and some 600 bytes
//
// A hint for NewMap saves the time of growing, and memory: maps of up to some 2,000 entries leave what they grew out
// of to the arena's Reset. A map that loses entries uses their memory for entries to come: see Shrink.
type Map[K comparable, V any] struct {
	marks
	typed[K, V]
}

// NewMap makes an empty map in a. The map takes memory for hint entries at once, and does not fail before it has
// them. With hint 0 it is made small, and grows. NewMap panics with an error that wraps guard.ErrNoMemory if the
// arena is full, with an error if hint is negative, and with an error that names the field if K or V contains Go
// pointers.
func NewMap[K comparable, V any](a *arena.Arena, hint int) *Map[K, V] {
	return must(TryNewMap[K, V](a, hint))
}

// TryNewMap is NewMap that returns its error: no memory, a negative hint, or entries that are too large for a table. If it fails, it takes nothing
// of the arena. It panics if K or V contains Go pointers.
func TryNewMap[K comparable, V any](a *arena.Arena, hint int) (*Map[K, V], error) {
	m := new(Map[K, V])
	if err := m.open(a, "NewMap", hint); err != nil {
		return nil, err
	}
	m.watch(false)
	return m, nil
}

// mustBeMade panics if no NewMap made the map. All calls begin with it but Get, Lookup and TryPut, so it is the place to mark
// the map as read.
func (m *Map[K, V]) mustBeMade() {
	if m == nil || m.find == nil {
		panic(zeroUse("Map"))
	}
	m.markRead()
}

// zeroUse returns the violation of using a zero Map or Strings.
//
//go:noinline
func zeroUse(typ string) *guard.Violation {
	return &guard.Violation{Op: "table." + callOf(typ), Kind: guard.ZeroValue, Detail: "table.New" + typ + " makes a " + typ}
}

// mustBeOpen panics if the arena cannot be used.
func mustBeOpen(a *arena.Arena, op string) {
	if err := a.Err(); err != nil {
		v := err.(*guard.Violation)
		v.Op = "table." + op
		panic(v)
	}
}

// mustBePointerFree panics if a type contains Go pointers.
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
	m.mustBeMade()
	m.usable()
	return int(m.root.count)
}

// Get returns the value of k, and whether k is there. If it is not, the value is zero.
//
// Cost: inlined up to one call, which searches. In a large map it takes two cache misses.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	if s := search(m, k, m.find, zeroUse); s != nil {
		return s.value, true
	}
	return v, false
}

// Lookup returns a pointer to the value of k, nil if k is not there. The program may write to the value. The pointer
// is valid until the next insertion, one that fails included, deletion, Clear or Shrink: then another entry may lie
// there.
//
// Cost: that of Get, without a copy of the value.
func (m *Map[K, V]) Lookup(k K) *V {
	if s := search(m, k, m.find, zeroUse); s != nil {
		return &s.value
	}
	return nil
}

// search calls find, which is m.find, and panics for a zero Map. The functions that it calls are parameters
// so that Get and Lookup are inlined: a call through a parameter costs the inliner less.
func search[K comparable, V any](m *Map[K, V], k K, find func(t *typed[K, V], key K) (*slot[K, V], byte), zeroUse func(typ string) *guard.Violation) (s *slot[K, V]) {
	if find == nil {
		panic(zeroUse("Map"))
	}
	s, _ = find(&m.typed, k)
	return
}

// Put sets the value of k. It panics with an error that wraps guard.ErrNoMemory if the map must grow and
// the arena is full. Setting the value of a key that is there never fails.
//
// Cost: a search; if k is not there, another one for a free slot. One insertion in some hundred rebuilds a part of
// the map: some 50 µs. None waits for the whole map.
func (m *Map[K, V]) Put(k K, v V) {
	if err := m.TryPut(k, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. After an error the map has the entries that it had.
func (m *Map[K, V]) TryPut(k K, v V) error {
	if m == nil {
		panic(zeroUse("Map"))
	}
	m.markWrite()
	s := search(m, k, m.find, zeroUse)
	if s != nil {
		*s = slot[K, V]{k, v} // the key too: a -0 is written over a 0, as in Go's maps
		return nil
	}
	s, err := m.insert(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)))
	if err != nil {
		return err
	}
	*s = slot[K, V]{k, v}
	m.checkAfterChange()
	return nil
}

// Entry returns a pointer to the value of k, to be read and written. If k is not there, Entry inserts it with a zero
// value, and inserted is true. The pointer is valid as long as one of Lookup. Entry panics as Put does.
func (m *Map[K, V]) Entry(k K) (v *V, inserted bool) {
	v, inserted, err := m.TryEntry(k)
	if err != nil {
		panic(err)
	}
	return v, inserted
}

// TryEntry is Entry that returns its error. After an error the map has the entries that it had.
func (m *Map[K, V]) TryEntry(k K) (v *V, inserted bool, err error) {
	m.mustBeMade()
	m.markWrite()
	if s, _ := m.find(&m.typed, k); s != nil {
		s.key = k // as Put does
		return &s.value, false, nil
	}
	s, err := m.insertKey(k)
	if err != nil {
		return nil, false, err
	}
	return &s.value, true, nil
}

// Add inserts k with the value v if k is not there, and tells whether it did. A value that is there stays. Add panics
// as Put does.
func (m *Map[K, V]) Add(k K, v V) bool {
	return must(m.TryAdd(k, v))
}

// TryAdd is Add that returns its error. After an error the map has the entries that it had.
func (m *Map[K, V]) TryAdd(k K, v V) (added bool, err error) {
	m.mustBeMade()
	m.markWrite()
	if s, _ := m.find(&m.typed, k); s != nil {
		return false, nil
	}
	s, err := m.insertKey(k)
	if err != nil {
		return false, err
	}
	s.value = v
	return true, nil
}

// insertKey inserts a key that is not there, with a zero value.
func (m *Map[K, V]) insertKey(k K) (*slot[K, V], error) {
	s, err := m.insert(m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)))
	if err != nil {
		return nil, err
	}
	*s = slot[K, V]{key: k}
	m.checkAfterChange()
	return s, nil
}

// Delete removes k, and tells whether k was there. It never fails. Its memory serves other entries of the map.
func (m *Map[K, V]) Delete(k K) bool {
	m.mustBeMade()
	m.markWrite()
	e, _ := m.find(&m.typed, k)
	if e == nil {
		return false
	}
	hash := m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k))
	m.remove(hash, m.placeOf(hash, e))
	m.checkAfterChange()
	return true
}

// Clear removes all entries. The map keeps its memory, for entries to come. It never fails.
//
// Cost: proportional to the memory of the map, not to the number of entries: it touches each block of some KiB once.
func (m *Map[K, V]) Clear() {
	m.mustBeMade()
	m.markWrite()
	m.usable()
	m.clearAll()
	m.checkAfterChange()
}

// Shrink fits the map to its entries, after it has lost most of them: it merges parts that have become small, so that
// iterations and Sample need not pass what is empty. The memory stays with the map, which uses it for entries to
// come; the arena's Reset frees it. Shrink never fails.
//
// Cost: 50 to 300 ns for each entry. A second Shrink takes a microsecond or two.
func (m *Map[K, V]) Shrink() {
	m.mustBeMade()
	m.markWrite()
	m.usable()
	m.shrinkAll()
	m.checkAfterChange()
}

// All iterates over the entries, from a random one on, in an order that means nothing. The map may be changed meanwhile:
//
//   - An entry that is deleted before the iteration reaches it does not come. One that is inserted may come.
//   - Every other entry comes once, with the value that it has then.
//   - Deleting the entries that come, while others are inserted, does not make the map slower.
//
// The loop may be left at any time. A loop that deletes the first entry and stops takes the same time again and again.
//
// Cost: some 10 to 20 ns for an entry, and a search for each if the map is changed meanwhile. It allocates some KiB
// on the Go heap.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[K, V]) bool { m.markRead(); return yield(s.key, s.value) })
	}
}

// Keys iterates over the keys, as All does.
func (m *Map[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[K, V]) bool { m.markRead(); return yield(s.key) })
	}
}

// Values iterates over the values, as All does.
func (m *Map[K, V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[K, V]) bool { m.markRead(); return yield(s.value) })
	}
}

// Scan iterates over the next n entries, or some more, from a Cursor on, and moves the Cursor behind them; with n below 1 over as few as it can. The zero
// Cursor is the beginning; it is zero again after the last entry:
//
//	for {
//		for k, v := range m.Scan(&c, 100) {
//			…
//		}
//		if c == 0 {
//			break
//		}
//	}
//
// The map may be changed between the calls and meanwhile. An entry that is there from the first call to the last
// comes once, and no key comes twice. But if the loop is left by break, the Cursor stays before the last few entries,
// which come again; and NaN keys may come twice or not at all if Shrink is called between the calls.
func (m *Map[K, V]) Scan(c *Cursor, n int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.mustBeMade()
		m.usable()
		m.scan(c, n, func(s *slot[K, V]) bool { m.markRead(); return yield(s.key, s.value) })
	}
}

// Sample iterates over n random entries, each drawn from all entries that the map has at that step: so an entry may
// come several times. The map may be changed meanwhile. It is for programs that evict: they look at some entries and
// delete the worst. Of an empty map, or with n below 1, none comes.
//
// All entries are equally likely, but in a map that has lost nearly all entries that it had: call Shrink then.
//
// Cost: a few cache misses for each entry; up to 20 µs in a map that has lost nearly all entries.
func (m *Map[K, V]) Sample(n int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.mustBeMade()
		m.usable()
		m.sample(n, func(s *slot[K, V]) bool { m.markRead(); return yield(s.key, s.value) })
	}
}

// HashOf returns the hash of a key, for GetHashed: a program that asks for one key several times hashes it once. It
// is valid as long as the map is, and for maps attached to the same table. Other maps have other hashes, and a NaN
// has another one each time.
func (m *Map[K, V]) HashOf(k K) uint64 {
	m.mustBeMade()
	m.usable()
	return m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k))
}

// GetHashed is Get for a program that has the hash of k, from HashOf. With another hash it does not find k. It pays
// for long keys; for keys of 8 bytes Get is as fast.
func (m *Map[K, V]) GetHashed(hash uint64, k K) (v V, ok bool) {
	m.mustBeMade()
	m.usable()
	if p, ok := m.locate(hash, k); ok {
		return slotAt[K, V](p.g, p.slot).value, true
	}
	return v, false
}
