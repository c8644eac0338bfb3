package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// TestAttach attaches maps and tables to ones that are there.
func TestAttach(t *testing.T) {
	a := openTest(t, arena.Config{})
	type value struct {
		Price int64
		Count uint32
	}
	m := NewMap[uint64, value](a, 0)
	s := NewStrings[uint32](a, 0)
	for i := range uint64(5000) {
		m.Put(i, value{int64(i), 1})
		s.Put(fmt.Sprint(i), uint32(i))
	}
	m2, err := Attach[uint64, value](a, m.Ref())
	if err != nil {
		t.Fatal(err)
	}
	s2, err := AttachStrings[uint32](a, s.Ref())
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5000) {
		v, ok := m2.Get(i)
		n, there := s2.Get(fmt.Sprint(i))
		if !ok || v.Price != int64(i) || !there || n != uint32(i) {
			t.Fatalf("%d: %v %v, %d %v", i, v, ok, n, there)
		}
	}
	for i := range uint64(20000) {
		m2.Put(i+5000, value{})
		s2.Put(fmt.Sprint(i+5000), 1)
	}
	m2.check()
	if m.Len() != 25000 || s.Len() != 25000 {
		t.Errorf("%d and %d entries", m.Len(), s.Len())
	}
	for i := range uint64(25000) {
		if _, ok := m.Get(i); !ok {
			t.Fatalf("%d is not there", i)
		}
		if !s.Delete(fmt.Sprint(i)) {
			t.Fatalf("%d is not there", i)
		}
	}
	type changed struct {
		Price float64
		Count uint32
	}
	_, err = Attach[uint64, changed](a, m.Ref())
	if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), "Price") {
		t.Errorf("another type: %v", err)
	}
	if _, err := Attach[uint64, value](a, s.Ref()); !errors.Is(err, ErrLayout) {
		t.Errorf("a map of a Strings: %v", err)
	}
	if _, err := AttachStrings[uint32](a, m.Ref()); !errors.Is(err, ErrLayout) {
		t.Errorf("a Strings of a map: %v", err)
	}
	if _, err := Attach[uint64, value](a, Ref{}); err == nil {
		t.Error("the zero Ref is a map")
	}
	other := arena.New[[1000]byte](a)
	if _, err := Attach[uint64, value](a, Ref{arena.RefOf(a, (*root)(unsafe.Pointer(other)))}); err == nil {
		t.Error("other memory is a map")
	}
}

// TestGetBatch compares GetBatch with Get.
func TestGetBatch(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	for i := range uint64(100_000) {
		m.Put(i*3, i)
	}
	for _, n := range []int{0, 1, 31, 32, 33, 1000} {
		keys, values, found := make([]uint64, n), make([]uint64, n), make([]bool, n)
		for i := range keys {
			keys[i] = uint64(i * 7)
			values[i] = 99
		}
		hits := m.GetBatch(keys, values, found)
		want := 0
		for i, k := range keys {
			v, ok := m.Get(k)
			if v != values[i] || ok != found[i] {
				t.Fatalf("key %d: %d %v, Get has %d %v", k, values[i], found[i], v, ok)
			}
			if ok {
				want++
			}
		}
		if hits != want || m.GetBatch(keys, values, nil) != want {
			t.Errorf("%d hits, want %d", hits, want)
		}
	}
}

// TestClearAndShrink empties, fills and shrinks tables.
func TestClearAndShrink(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	for round := range 4 {
		n := uint64(100_000 >> (2 * round))
		for i := range n {
			m.Put(i, i)
		}
		m.check()
		live := a.Stats().Live
		for i := range n * 9 / 10 {
			m.Delete(i)
		}
		m.check()
		m.Shrink()
		m.check()
		if m.Len() != int(n-n*9/10) {
			t.Fatalf("%d entries", m.Len())
		}
		for i := n * 9 / 10; i < n; i++ {
			if v, ok := m.Get(i); !ok || v != i {
				t.Fatalf("%d is lost", i)
			}
		}
		m.Clear()
		m.check()
		for range m.All() {
			t.Fatal("an entry is left")
		}
		if m.Len() != 0 || a.Stats().Live > live+live/50 {
			t.Errorf("%d entries, %d bytes live after %d", m.Len(), a.Stats().Live, live)
		}
	}
}

// copyOf returns an arena that has the bytes of another one, at another address.
func copyOf(t *testing.T, a *arena.Arena) *arena.Arena {
	t.Helper()
	b := openTest(t, arena.Config{})
	p := arena.New[uint64](a) // both have the same first address, so all offsets are the same
	q := arena.New[uint64](b)
	live := int(a.Stats().Live)
	first := int(b.Stats().Live) - int(unsafe.Sizeof(*q))
	from := unsafe.Add(unsafe.Pointer(p), int(unsafe.Sizeof(*p))-live)
	to := unsafe.Add(unsafe.Pointer(q), -first)
	if _, err := b.TryAlloc(live-int(b.Stats().Live), 1); err != nil {
		t.Fatal(err)
	}
	copy(unsafe.Slice((*byte)(to), live), unsafe.Slice((*byte)(from), live))
	return b
}

// TestAttachToCopy attaches tables to memory that was copied to another address, as that of a file is in another run.
func TestAttachToCopy(t *testing.T) {
	for _, n := range []int{0, 1, 10, 1000, 30_000} {
		a := openTest(t, arena.Config{})
		arena.New[[3]uint64](a)
		m, s := NewMap[uint64, uint64](a, 0), NewStrings[uint64](a, 0)
		for i := range uint64(n) {
			m.Put(i, i)
			s.Put(fmt.Sprint("key ", i), i)
			if i%3 == 0 {
				m.Delete(i / 2)
				s.Delete(fmt.Sprint("key ", i/2))
			}
		}
		b := copyOf(t, a)
		m2, err := Attach[uint64, uint64](b, m.Ref())
		if err != nil {
			t.Fatal(err)
		}
		s2, err := AttachStrings[uint64](b, s.Ref())
		if err != nil {
			t.Fatal(err)
		}
		m2.check()
		s2.typed.check()
		if m2.Len() != m.Len() || s2.Len() != s.Len() {
			t.Fatalf("%d and %d entries, want %d and %d", m2.Len(), s2.Len(), m.Len(), s.Len())
		}
		for k, v := range m.All() {
			if w, ok := m2.Get(k); !ok || w != v {
				t.Fatalf("%d is %d, %v", k, w, ok)
			}
		}
		for k, v := range s.All() {
			if w, ok := s2.Get(k); !ok || w != v {
				t.Fatalf("%q is %d, %v", k, w, ok)
			}
		}
		for i := range uint64(2 * n) { // grows in its new place, and leaves the other alone
			m2.Put(i, 7)
			s2.Put(fmt.Sprint("key ", i), 7)
		}
		m2.check()
		s2.typed.check()
		m.check()
		s.typed.check()
	}
}

// TestAttachToDamaged attaches maps to roots and leaves with random bytes. That is an error, a violation, or a map that can be
// used without touching other memory.
func TestAttachToDamaged(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 500
	}
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	for i := range uint64(6000) {
		m.Put(i, i)
	}
	for i := range uint64(3000) {
		m.Delete(i)
	}
	m.Shrink()
	rng := rand.New(rand.NewPCG(1, 2))
	refused, used := 0, 0
	for round := range rounds {
		b := copyOf(t, a)
		ref := m.Ref()
		r := ref.root.Deref(b)
		field := unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
		if round%3 == 0 {
			field = unsafe.Slice((*byte)(unsafe.Pointer(r.leafAt(rng.Uint32N(r.leaves)))), leafSize)
		}
		at := rng.IntN(len(field))
		for i := at; i < min(at+1<<rng.IntN(5), len(field)); i++ {
			field[i] = byte(rng.Uint32())
			if rng.IntN(4) == 0 {
				field[i] ^= field[(i+8)%len(field)]
			}
		}
		var m2 *Map[uint64, uint64]
		var err error
		if panicked := panicOf(func() { m2, err = Attach[uint64, uint64](b, ref) }); panicked != nil || err != nil {
			refused++
			b.Close()
			continue
		}
		used++
		err = guard.Catch(func() {
			for i := range uint64(7000) {
				m2.Get(i)
			}
			n := 0
			for range m2.All() {
				if n++; n > 100_000 {
					break
				}
			}
		})
		if err != nil {
			t.Fatalf("round %d: byte %d of %d: %v", round, at, len(field), err)
		}
		b.Close()
	}
	t.Logf("%d were refused, %d could be used", refused, used)
	if refused < rounds/4 {
		t.Errorf("only %d of %d damaged tables were refused", refused, rounds)
	}
}
