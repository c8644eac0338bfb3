package table

import (
	"fmt"
	"iter"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table/internal/keys"
)

// Strings is a hash table in an arena whose keys are strings; values contain no Go pointers. The bytes of
// a key are copied into the arena when it is inserted. NewStrings makes a table; using the zero Strings, or nil,
// is a *guard.Violation. It must not be copied.
//
// Each method that takes a key has a form for []byte, which needs no conversion: the slice may be changed
// after the call. A key may have up to 4 GiB. The memory of a deleted key is used again, for keys of any length.
//
// An entry has 16 bytes, the value, and the bytes of its key. Keys of 8 to 200 bytes take 1.1 times their bytes if
// there are 100,000 of them, up to twice as much if there are 100. Concurrency, lifetime and the memory of entries
// are those of Map. A search reads the bytes of the key that it finds: one cache miss more than Map has.
type Strings[V any] struct {
	marks
	typed[stringKey, V]
}

// stringsRoot is the root of a Strings.
type stringsRoot struct {
	root
	keys keys.Heap
}

// rootSize returns how large the root of a table is.
func (h *hasher) rootSize() int {
	if h.kind == byStoredHash {
		return int(unsafe.Sizeof(stringsRoot{}))
	}
	return int(unsafe.Sizeof(root{}))
}

// keyHeap returns the memory for the bytes of keys.
func (m *Strings[V]) keyHeap() *keys.Heap { return &(*stringsRoot)(m.base()).keys }

// keySource gives the arena's memory to a table's keys.
type keySource struct{ table *untyped }

// Grow allocates size bytes, and returns their offset.
func (s keySource) Grow(size uint64) (off uint64, err error) { return s.table.alloc(size, 1) }

// stringKey is a key in the table: where its bytes are, and the half of their hash that is kept.
type stringKey struct {
	off  uint64
	size uint32
	hash uint32
}

// wholeHash makes a hash from the half that a stringKey keeps.
func wholeHash(half uint32) uint64 { return uint64(half) * golden }

// NewStrings makes an empty table in a, with room for hint entries but not for the bytes of their keys. It panics as
// NewMap does.
func NewStrings[V any](a *arena.Arena, hint int) *Strings[V] { return must(TryNewStrings[V](a, hint)) }

// TryNewStrings is NewStrings that returns its error: no memory, or a negative hint. If it fails, it takes
// nothing of the arena. It panics if V contains Go pointers.
func TryNewStrings[V any](a *arena.Arena, hint int) (*Strings[V], error) {
	m := new(Strings[V])
	if err := m.open(a, "NewStrings", hint); err != nil {
		return nil, err
	}
	m.watch(false)
	return m, nil
}

// mustBeMade panics if no NewStrings made the table. All calls begin with it, so it is the place to mark the table as read.
func (m *Strings[V]) mustBeMade() {
	if m == nil || m.root == nil {
		panic(zeroUse("Strings"))
	}
	m.markRead()
}

// Len returns the number of entries.
func (m *Strings[V]) Len() int {
	m.mustBeMade()
	m.usable()
	return int(m.root.count)
}

// Get returns the value of key, and whether key is there. If it is not, the value is zero.
func (m *Strings[V]) Get(key string) (v V, ok bool) {
	if s, _ := m.lookup(key); s != nil {
		return s.value, true
	}
	return v, false
}

// GetBytes is Get for a key in a slice.
func (m *Strings[V]) GetBytes(key []byte) (v V, ok bool) { return m.Get(view(key)) }

// Lookup returns a pointer to the value of key, nil if key is not there. The program may write to the value. The
// pointer is valid until the next insertion, one that fails included, deletion, Clear or Shrink.
func (m *Strings[V]) Lookup(key string) *V {
	if s, _ := m.lookup(key); s != nil {
		return &s.value
	}
	return nil
}

// LookupBytes is Lookup for a key in a slice.
func (m *Strings[V]) LookupBytes(key []byte) *V { return m.Lookup(view(key)) }

// HashOf returns the hash of a key, for GetHashed: a program that asks for one key several times hashes it once. It is
// valid as long as the table is, and for tables attached to the same memory. Other tables have other hashes.
func (m *Strings[V]) HashOf(key string) uint64 {
	m.mustBeMade()
	m.usable()
	return wholeHash(m.half(key))
}

// HashOfBytes is HashOf for a key in a slice.
func (m *Strings[V]) HashOfBytes(key []byte) uint64 { return m.HashOf(view(key)) }

// GetHashed is Get for a program that has the hash of key, from HashOf. With another hash it does not find key. It pays
// for long keys.
func (m *Strings[V]) GetHashed(hash uint64, key string) (v V, ok bool) {
	m.mustBeMade()
	m.usable()
	if p, ok := m.locateKey(hash, key); ok {
		return slotAt[stringKey, V](p.g, p.slot).value, true
	}
	return v, false
}

// GetHashedBytes is GetHashed for a key in a slice.
func (m *Strings[V]) GetHashedBytes(hash uint64, key []byte) (v V, ok bool) {
	return m.GetHashed(hash, view(key))
}

// Put sets the value of key. It panics with an error that wraps guard.ErrNoMemory if the arena has no room
// for a new key, and with an error if the key is longer than 4 GiB. Setting the value of a key that is there never fails.
func (m *Strings[V]) Put(key string, v V) {
	if err := m.TryPut(key, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. After an error the table has the entries that it had.
func (m *Strings[V]) TryPut(key string, v V) error {
	s, _, err := m.upsert(key)
	if err == nil {
		s.value = v
	}
	return err
}

// Entry returns a pointer to the value of key. If key is not there, Entry inserts it with a zero value, and
// inserted is true. The pointer is valid as long as one of Lookup. Entry panics as Put does.
func (m *Strings[V]) Entry(key string) (v *V, inserted bool) {
	s, inserted, err := m.upsert(key)
	if err != nil {
		panic(err)
	}
	return &s.value, inserted
}

// TryEntry is Entry that returns its error. After an error the table has the entries that it had.
func (m *Strings[V]) TryEntry(key string) (v *V, inserted bool, err error) {
	s, inserted, err := m.upsert(key)
	if err != nil {
		return nil, false, err
	}
	return &s.value, inserted, nil
}

// EntryBytes is Entry for a key in a slice. The bytes are copied only if the key is inserted.
func (m *Strings[V]) EntryBytes(key []byte) (v *V, inserted bool) { return m.Entry(view(key)) }

// TryEntryBytes is EntryBytes that returns its error.
func (m *Strings[V]) TryEntryBytes(key []byte) (v *V, inserted bool, err error) {
	return m.TryEntry(view(key))
}

// Delete removes key, and tells whether key was there. It never fails. Strings that an iteration has yielded for the
// key are invalid afterwards: another key may take their bytes.
func (m *Strings[V]) Delete(key string) bool {
	m.mustBeMade()
	m.markWrite()
	m.usable()
	hash := wholeHash(m.half(key))
	p, ok := m.locateKey(hash, key)
	if !ok {
		return false
	}
	k := slotAt[stringKey, V](p.g, p.slot).key
	m.remove(hash, p)
	m.keyHeap().Free(m.base(), k.off, int(k.size))
	m.checkAfterChange()
	return true
}

// DeleteBytes is Delete for a key in a slice.
func (m *Strings[V]) DeleteBytes(key []byte) bool { return m.Delete(view(key)) }

// Add inserts key with the value v if key is not there, and tells whether it did. A value that is there stays. Add
// panics as Put does.
func (m *Strings[V]) Add(key string, v V) bool { return must(m.TryAdd(key, v)) }

// TryAdd is Add that returns its error. After an error the table has the entries that it had.
func (m *Strings[V]) TryAdd(key string, v V) (added bool, err error) {
	s, added, err := m.upsert(key)
	if added {
		s.value = v
	}
	return added, err
}

// AddBytes is Add for a key in a slice. The bytes are copied only if the key is inserted.
func (m *Strings[V]) AddBytes(key []byte, v V) bool { return m.Add(view(key), v) }

// TryAddBytes is AddBytes that returns its error.
func (m *Strings[V]) TryAddBytes(key []byte, v V) (added bool, err error) {
	return m.TryAdd(view(key), v)
}

// PutBytes is Put for a key in a slice. The bytes are copied only if the key is inserted.
func (m *Strings[V]) PutBytes(key []byte, v V) { m.Put(view(key), v) }

// TryPutBytes is TryPut for a key in a slice.
func (m *Strings[V]) TryPutBytes(key []byte, v V) error { return m.TryPut(view(key), v) }

// Clear removes all entries and all keys. The table keeps its memory, for entries to come. Strings that an iteration
// has yielded are invalid afterwards. It never fails.
func (m *Strings[V]) Clear() {
	m.mustBeMade()
	m.markWrite()
	m.usable()
	m.clearAll()
	m.keyHeap().Reset(m.base())
	m.checkAfterChange()
}

// Shrink fits the table to its entries, as Map.Shrink does. Keys stay where they are.
func (m *Strings[V]) Shrink() {
	m.mustBeMade()
	m.markWrite()
	m.usable()
	m.shrinkAll()
	m.checkAfterChange()
}

// All iterates over the entries as Map.All does. The strings lie in the arena: each is valid until its entry is
// deleted, by Clear too, or the arena frees the table. strings.Clone makes a copy that stays.
func (m *Strings[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[stringKey, V]) bool { m.markRead(); return yield(m.string(&s.key), s.value) })
	}
}

// Keys iterates over the keys as All does, with strings that are valid as long.
func (m *Strings[V]) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[stringKey, V]) bool { m.markRead(); return yield(m.string(&s.key)) })
	}
}

// Values iterates over the values as All does.
func (m *Strings[V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		m.mustBeMade()
		m.usable()
		m.forEach(func(s *slot[stringKey, V]) bool { m.markRead(); return yield(s.value) })
	}
}

// Scan iterates over the next n entries, or some more, as Map.Scan does. The strings are valid as those of All.
func (m *Strings[V]) Scan(c *Cursor, n int) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		m.mustBeMade()
		m.usable()
		m.scan(c, n, func(s *slot[stringKey, V]) bool { m.markRead(); return yield(m.string(&s.key), s.value) })
	}
}

// Sample iterates over n random entries, as Map.Sample does. The strings are valid as those of All.
func (m *Strings[V]) Sample(n int) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		m.mustBeMade()
		m.usable()
		m.sample(n, func(s *slot[stringKey, V]) bool { m.markRead(); return yield(m.string(&s.key), s.value) })
	}
}

// view returns key as a string, without a copy.
func view(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// string returns the bytes of a key as a string, without a copy.
func (m *Strings[V]) string(k *stringKey) string {
	return unsafe.String((*byte)(m.at(k.off)), int(k.size))
}

// half returns the half of a key's hash that is kept: see wholeHash.
func (m *Strings[V]) half(key string) uint32 {
	return uint32(m.root.seed.bytes(unsafe.Pointer(unsafe.StringData(key)), uintptr(len(key))) >> 32)
}

// locateKey searches for a key with a hash.
func (m *Strings[V]) locateKey(hash uint64, key string) (p place, ok bool) {
	r := m.root
	p.number = r.leafIndex(hash)
	l := r.leafAt(p.number)
	home := homeOf(hash, l.groups)
	pattern := tagOf(hash) * lowBits
	for p.i = home; ; {
		p.g = r.group(l, p.i, unsafe.Sizeof(slot[stringKey, V]{}))
		even, odd := p.g.words()
		for set := matching(even, odd, pattern); set != 0; set &= set - 1 {
			p.slot = set.first()
			e := slotAt[stringKey, V](p.g, p.slot)
			if wholeHash(e.key.hash) == hash && int(e.key.size) == len(key) && m.string(&e.key) == key {
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

// lookup returns the slot of a key, nil if it is not there, and half of its hash. It looks at the home of the key itself, as plainFind does.
func (m *Strings[V]) lookup(key string) (s *slot[stringKey, V], half uint32) {
	m.mustBeMade()
	m.usable()
	r := m.root
	half = m.half(key)
	hash := wholeHash(half)
	l := r.leafOf(hash)
	g := r.group(l, homeOf(hash, l.groups), unsafe.Sizeof(slot[stringKey, V]{}))
	even, odd := g.words()
	for set := matching(even, odd, tagOf(hash)*lowBits); set != 0; set &= set - 1 {
		e := (*slot[stringKey, V])(g.firstOf(set, unsafe.Sizeof(slot[stringKey, V]{})))
		if e.key.hash == half && int(e.key.size) == len(key) && m.string(&e.key) == key {
			return e, half
		}
	}
	if !passes(odd, hash) {
		return nil, half
	}
	if p, ok := m.locateKey(hash, key); ok {
		return slotAt[stringKey, V](p.g, p.slot), half
	}
	return nil, half
}

// upsert returns the slot of a key, which it inserts if it is not there.
func (m *Strings[V]) upsert(key string) (s *slot[stringKey, V], inserted bool, err error) {
	s, half := m.lookup(key)
	m.markWrite()
	if s != nil {
		return s, false, nil
	}
	if uint64(len(key)) > keys.MaxSize {
		return nil, false, fmt.Errorf("table: Strings: a key of %d bytes is longer than 4 GiB", len(key))
	}
	off, err := m.keyHeap().Store(m.base(), keySource{&m.untyped}, key)
	if err != nil {
		return nil, false, err
	}
	if s, err = m.insert(wholeHash(half)); err != nil {
		m.keyHeap().Free(m.base(), off, len(key))
		return nil, false, err
	}
	*s = slot[stringKey, V]{key: stringKey{off, uint32(len(key)), half}}
	m.checkAfterChange()
	return s, true, nil
}
