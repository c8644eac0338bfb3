package table

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
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
