package table

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// tryKeys inserts, finds and deletes n keys of a type.
func tryKeys[K comparable](t *testing.T, what string, n int, key func(i int) K) {
	t.Helper()
	a := openTest(t, arena.Config{})
	m := NewMap[K, int](a, 0)
	for i := range n {
		m.Put(key(i), i)
	}
	if m.Len() != n {
		t.Errorf("%s: %d entries, put %d", what, m.Len(), n)
	}
	m.check()
	for i := range n {
		if v, ok := m.Get(key(i)); !ok || v != i {
			t.Fatalf("%s: Get(%v) = %d, %v; want %d", what, key(i), v, ok, i)
		}
	}
	for i := 0; i < n; i += 2 {
		if !m.Delete(key(i)) || m.Delete(key(i)) || m.Lookup(key(i)) != nil {
			t.Fatalf("%s: key %v is not deleted once", what, key(i))
		}
	}
	if m.Len() != n/2 {
		t.Errorf("%s: %d entries are left of %d", what, m.Len(), n)
	}
}

type padded struct {
	a byte
	b uint64
	c byte
}

type mixed struct {
	f float32
	i int16
	g float64
	_ [3]byte
}

func TestMapKeys(t *testing.T) {
	tryKeys(t, "bool", 2, func(i int) bool { return i == 1 })
	tryKeys(t, "uint8", 256, func(i int) uint8 { return uint8(i) })
	tryKeys(t, "int16", 3000, func(i int) int16 { return int16(i - 1500) })
	tryKeys(t, "uint32", 3000, func(i int) uint32 { return uint32(i) << 20 })
	tryKeys(t, "int64", 3000, func(i int) int64 { return int64(i) << 48 })
	tryKeys(t, "float32", 3000, func(i int) float32 { return float32(i) / 3 })
	tryKeys(t, "float64", 3000, func(i int) float64 { return float64(i) * 1e300 / 3000 })
	tryKeys(t, "complex128", 3000, func(i int) complex128 { return complex(float64(i), -float64(i)) })
	tryKeys(t, "[2]uint64", 3000, func(i int) [2]uint64 { return [2]uint64{0, uint64(i)} })
	tryKeys(t, "[5]byte", 3000, func(i int) [5]byte { return [5]byte{byte(i), 4: byte(i >> 8)} })
	tryKeys(t, "[100]byte", 3000, func(i int) [100]byte { return [100]byte{50: byte(i), 99: byte(i >> 8)} })
	tryKeys(t, "padded", 3000, func(i int) padded { return padded{byte(i), uint64(i), byte(i >> 8)} })
	tryKeys(t, "mixed", 3000, func(i int) mixed { return mixed{f: float32(i), i: int16(i), g: float64(-i)} })
	tryKeys(t, "struct{}", 1, func(int) struct{} { return struct{}{} })
}

func TestMapFloatKeys(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[float64, int](a, 0)
	minus := math.Copysign(0, -1)
	m.Put(0, 1)
	m.Put(minus, 2)
	if v, _ := m.Get(0); v != 2 || m.Len() != 1 {
		t.Errorf("0 and -0 are equal and must be one key: %d, %d entries", v, m.Len())
	}
	for range 3 { // as in Go's maps: not equal to itself, never found
		m.Put(math.NaN(), 3)
	}
	if _, ok := m.Get(math.NaN()); ok || m.Len() != 4 {
		t.Errorf("NaN: found %v, %d entries", ok, m.Len())
	}
	n := 0
	for k, v := range m.All() {
		if math.IsNaN(k) && v == 3 {
			n++
		}
	}
	if n != 3 {
		t.Errorf("All yields NaN %d times, put 3", n)
	}
}

func TestMapValues(t *testing.T) {
	a := openTest(t, arena.Config{})
	none := NewMap[uint64, struct{}](a, 0)
	large := NewMap[uint64, [300]uint64](a, 0)
	for i := range uint64(2000) {
		none.Put(i, struct{}{})
		large.Put(i, [300]uint64{0: i, 299: ^i})
	}
	for i := range uint64(2000) {
		if _, ok := none.Get(i); !ok {
			t.Fatal(i)
		}
		if v := large.Lookup(i); v == nil || v[0] != i || v[299] != ^i {
			t.Fatal(i, v)
		}
	}
	if _, ok := none.Get(2000); ok {
		t.Fatal("found what was not put")
	}
}

func TestStringsKeys(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewStrings[int](a, 0)
	keys := []string{"", "\x00", "\x00\x00", "a", "b", "ab", strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20-1) + "y"}
	for i := range 2000 {
		keys = append(keys, fmt.Sprint("key ", i), strings.Repeat("k", i+2))
	}
	buf := []byte{}
	for i, k := range keys {
		buf = append(buf[:0], k...)
		v, fresh := m.EntryBytes(buf)
		if !fresh {
			t.Fatalf("key %d is there already", i)
		}
		*v = i
		clear(buf) // the key was copied
	}
	m.check()
	for i, k := range keys {
		if v, ok := m.Get(k); !ok || v != i {
			t.Fatalf("key %d: %d, %v", i, v, ok)
		}
		hash := m.HashOf(k)
		if v, ok := m.GetHashedBytes(hash, []byte(k)); !ok || v != i || m.HashOfBytes([]byte(k)) != hash {
			t.Fatalf("key %d with its hash: %d, %v", i, v, ok)
		}
		if _, ok := m.GetHashed(hash^1, k); ok {
			t.Fatalf("key %d is found with another hash", i)
		}
		if added, err := m.TryAddBytes([]byte(k), -1); added || err != nil {
			t.Fatalf("key %d is added again: %v, %v", i, added, err)
		}
	}
	if _, ok := m.Get("absent"); ok || m.Len() != len(keys) {
		t.Fatal(m.Len())
	}
	if added, err := m.TryAddBytes([]byte("absent"), 1); !added || err != nil || !m.Delete("absent") {
		t.Fatalf("TryAddBytes of a new key: %v, %v", added, err)
	}
	key7 := []byte("key 7")
	if n := testing.AllocsPerRun(100, func() {
		m.LookupBytes(buf)
		m.GetBytes(buf)
		m.Get("key 7")
		m.EntryBytes(key7)
		m.DeleteBytes(buf[:1])
	}); n != 0 {
		t.Errorf("a search allocates %v times on the Go heap", n)
	}
}

// TestMapChangesDuringAll inserts and deletes while All iterates: no entry comes twice or after its
// deletion, and all entries that stay come.
func TestMapChangesDuringAll(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[int, int](a, 0)
	const n = 3000
	for i := range n {
		m.Put(i, i)
	}
	seen, deleted := map[int]bool{}, map[int]bool{}
	for k := range m.All() {
		if seen[k] || deleted[k] {
			t.Fatalf("%d: yielded before %v, deleted %v", k, seen[k], deleted[k])
		}
		seen[k] = true
		for _, gone := range []int{(k*7 + 1) % n, (k*13 + 5) % n} {
			if gone%3 == 0 {
				m.Delete(gone)
				deleted[gone] = true
			}
		}
		m.Put(n+k, k) // grows the table under the iteration
		if len(seen) > 10*n {
			t.Fatal("the iteration does not end")
		}
	}
	for i := range n {
		if !seen[i] && !deleted[i] {
			t.Fatalf("%d was never yielded", i)
		}
	}
	for range m.All() {
		break
	}
}

// TestMapNoMemory: an insertion that finds no memory returns an error, and changes nothing.
func TestMapNoMemory(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 200 << 10})
	m := NewMap[uint64, uint64](a, 0)
	n := uint64(0)
	var err error
	for ; n < 100_000; n++ {
		if err = m.TryPut(n, ^n); err != nil {
			break
		}
	}
	if !errors.Is(err, guard.ErrNoMemory) {
		t.Fatalf("%d entries, then %v", n, err)
	}
	used := top(a)
	for range 300 {
		if err := m.TryPut(n, 0); !errors.Is(err, guard.ErrNoMemory) {
			t.Fatal(err)
		}
	}
	if top(a) != used {
		t.Errorf("%d bytes are lost by calls that fail", top(a)-used)
	}
	m.check()
	if uint64(m.Len()) != n {
		t.Fatalf("%d entries, put %d", m.Len(), n)
	}
	for i := range n {
		if v, ok := m.Get(i); !ok || v != ^i {
			t.Fatalf("Get(%d) = %d, %v", i, v, ok)
		}
	}
	if err := m.TryPut(0, 5); err != nil {
		t.Fatalf("overwriting needs no memory: %v", err)
	}
	m.Delete(1)
	for i := range n / 2 {
		m.Delete(i)
	}
	if err := m.TryPut(n, 1); err != nil {
		t.Fatalf("after half was deleted: %v", err)
	}

	b := openTest(t, arena.Config{Limit: 100 << 10})
	sm := NewStrings[byte](b, 0)
	for n, err = 0, nil; err == nil; n++ {
		err = sm.TryPut(fmt.Sprint(n), byte(n))
	}
	used = top(b)
	for range 300 {
		if err := sm.TryPut(strings.Repeat("x", 99<<10), 1); !errors.Is(err, guard.ErrNoMemory) {
			t.Fatal(err)
		}
	}
	if top(b) != used || sm.Len() != int(n-1) {
		t.Errorf("%d bytes are lost by calls that fail, %d entries of %d", top(b)-used, sm.Len(), n-1)
	}
	sm.check()
	for k := range n - 1 {
		if v, ok := sm.Get(fmt.Sprint(k)); v != byte(k) || !ok {
			t.Fatalf("%d is lost", k)
		}
	}
}

// TestTryForms: a call that finds no memory returns an error, and changes nothing.
func TestTryForms(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 100 << 10})
	m, err := TryNewMap[int, int](a, 100)
	if err != nil {
		t.Fatal(err)
	}
	s, err := TryNewStrings[int](a, 100)
	if err != nil {
		t.Fatal(err)
	}
	before := top(a)
	for name, try := range map[string]func(hint int) error{
		"TryNewMap":     func(hint int) error { _, err := TryNewMap[int, int](a, hint); return err },
		"TryNewStrings": func(hint int) error { _, err := TryNewStrings[int](a, hint); return err },
	} {
		if err := try(1e6); !errors.Is(err, guard.ErrNoMemory) || top(a) != before {
			t.Errorf("%s of too much: %v, took %d bytes", name, err, top(a)-before)
		}
		if err := try(-1); err == nil || errors.Is(err, guard.ErrNoMemory) || top(a) != before {
			t.Errorf("%s with a negative hint: %v", name, err)
		}
	}
	n := 0
	for ; ; n++ {
		v, inserted, err := m.TryEntry(n)
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) || v != nil || inserted {
				t.Fatal(v, inserted, err)
			}
			break
		}
		if !inserted || *v != 0 {
			t.Fatal(n, *v, inserted)
		}
		*v = n
	}
	if v, inserted, err := m.TryEntry(n - 1); m.Len() != n || err != nil || inserted || *v != n-1 {
		t.Errorf("after a failure: %d entries of %d; %d, %v, %v", m.Len(), n, *v, inserted, err)
	}
	fill(a)
	v, inserted, err := s.TryEntry(strings.Repeat("x", 1000))
	if !errors.Is(err, guard.ErrNoMemory) || v != nil || inserted || s.Len() != 0 {
		t.Errorf("TryEntry in a full arena: %v, %v, %v, %d entries", v, inserted, err, s.Len())
	}
	if v, inserted, err := s.TryEntryBytes(make([]byte, 1000)); !errors.Is(err, guard.ErrNoMemory) || v != nil || inserted || s.Len() != 0 {
		t.Errorf("TryEntryBytes in a full arena: %v, %v, %v, %d entries", v, inserted, err, s.Len())
	}
}

// TestEntryOfNoBytes puts and deletes the only entry that a map without bytes can have: with each hash it lies in another slot.
func TestEntryOfNoBytes(t *testing.T) {
	a := openTest(t, arena.Config{})
	for range 100 {
		m := NewMap[struct{}, struct{}](a, 0)
		for range 3 {
			m.Put(struct{}{}, struct{}{})
			if _, ok := m.Get(struct{}{}); !ok || m.Len() != 1 {
				t.Fatalf("the entry is there: %v; %d entries", ok, m.Len())
			}
			if !m.Delete(struct{}{}) || m.Delete(struct{}{}) || m.Len() != 0 {
				t.Fatalf("one deletion of two is one of an entry; %d entries", m.Len())
			}
			if _, ok := m.Get(struct{}{}); ok {
				t.Fatal("the entry is there after its deletion")
			}
		}
	}
}

// TestTooLargeEntries makes tables of entries for which there is no group: that is an error, but not one that memory would mend.
func TestTooLargeEntries(t *testing.T) {
	a := openTest(t, arena.Config{})
	type large [5 << 20]byte
	_, m := TryNewMap[int, large](a, 0)
	_, s := TryNewStrings[large](a, 0)
	_, c := TryNewConcurrent[int, large](a, 0)
	for _, err := range []error{m, s, c} {
		if err == nil || errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "too large for a table") {
			t.Error(err)
		}
	}
	if live := a.Stats().Live; live != 0 {
		t.Errorf("%d bytes of the arena are in use", live)
	}
}
