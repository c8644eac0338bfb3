package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// FuzzMap does the same operations to a Map, a Strings and Go's map. Each operation is three bytes: its
// kind, and a key. Few keys occur, so that they come again.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 1, 3, 1, 1, 2, 2, 1, 2, 3, 0, 0})
	grow := []byte{}
	for i := range 900 { // grows through several layouts, then shrinks to nothing
		grow = append(grow, 0, byte(i), byte(i>>8))
	}
	for i := range 900 {
		grow = append(grow, 2, byte(i), byte(i>>8))
	}
	f.Add(grow)
	churn := []byte{}
	for i := range 1500 {
		churn = append(churn, 0, byte(i), byte(i>>8), 2, byte(i-200), byte((i-200)>>8), 3, 0, 0)
	}
	f.Add(churn)
	f.Add(append(grow[:1500:1500], 4, 9, 0, 4, 255, 3, 0, 7, 0, 4, 0, 0))
	f.Fuzz(func(t *testing.T, ops []byte) {
		a := openTest(t, arena.Config{})
		m, sm := NewMap[uint16, uint64](a, 0), NewStrings[uint64](a, 0)
		model := map[uint16]uint64{}
		name := func(k uint16) string { return fmt.Sprintf("%0*d", int(k%40), k) }
		for i := 0; i+2 < len(ops); i += 3 {
			k := binary.LittleEndian.Uint16(ops[i+1:])
			s := name(k)
			want, there := model[k]
			switch ops[i] % 6 {
			case 0:
				m.Put(k, uint64(i))
				sm.Put(s, uint64(i))
				model[k] = uint64(i)
			case 1:
				v, fresh := m.Entry(k)
				w, freshToo := sm.EntryBytes([]byte(s))
				if i%2 == 0 {
					_, again := sm.Entry(s)
					freshToo = freshToo && !again
				}
				if fresh == there || freshToo == there || *v != want || *w != want {
					t.Fatalf("Entry(%d): %d %v, %d %v; model %d %v", k, *v, fresh, *w, freshToo, want, there)
				}
				*v += 7
				*w += 7
				model[k] = want + 7
			case 2:
				remove := sm.Delete
				if i%2 == 0 {
					remove = func(s string) bool { return sm.DeleteBytes([]byte(s)) }
				}
				if m.Delete(k) != there || remove(s) != there {
					t.Fatalf("Delete(%d): model %v", k, there)
				}
				delete(model, k)
			case 3:
				arena.New[[3]uint64](a) // the table must not need contiguous memory
			case 4: // change the tables while All iterates
				seen := map[uint16]bool{}
				for at, v := range m.All() {
					if model[at] != v || seen[at] {
						t.Fatalf("All: %d = %d; model %d; seen %v", at, v, model[at], seen[at])
					}
					seen[at] = true
					if at%3 == 0 {
						m.Delete(at ^ k)
						sm.Delete(name(at ^ k))
						delete(model, at^k)
					} else if len(seen) < 100 {
						m.Put(at+k, 1)
						sm.Put(name(at+k), 1)
						model[at+k] = 1
					}
				}
				texts := map[string]bool{}
				for s, v := range sm.All() {
					if texts[s] {
						t.Fatalf("All: %q twice", s)
					}
					texts[strings.Clone(s)] = true // s may be deleted
					if v%2 == 1 {                  // itself
						n, _ := strconv.Atoi(s)
						m.Delete(uint16(n))
						sm.Delete(s)
						delete(model, uint16(n))
					}
				}
			}
			want, there = model[k]
			if v, ok := m.Get(k); v != want || ok != there {
				t.Fatalf("Get(%d) = %d, %v; model %d, %v", k, v, ok, want, there)
			}
			if v, ok := sm.Get(s); v != want || ok != there {
				t.Fatalf("Get(%q) = %d, %v; model %d, %v", s, v, ok, want, there)
			}
			if v, ok := sm.GetBytes([]byte(s)); v != want || ok != there {
				t.Fatalf("GetBytes(%q) = %d, %v; model %d, %v", s, v, ok, want, there)
			}
			for _, p := range []*uint64{sm.Lookup(s), sm.LookupBytes([]byte(s))} {
				if (p != nil) != there || there && *p != want {
					t.Fatalf("Lookup(%q) = %v; model %d, %v", s, p, want, there)
				}
			}
			if m.Len() != len(model) || sm.Len() != len(model) {
				t.Fatalf("%d and %d entries, model %d", m.Len(), sm.Len(), len(model))
			}
		}
		m.check()
		sm.checkKeys()
		seen := map[uint16]bool{}
		for k, v := range m.All() {
			if want, ok := model[k]; !ok || v != want || seen[k] {
				t.Fatalf("All: %d = %d; model %d, %v; seen %v", k, v, want, ok, seen[k])
			}
			seen[k] = true
		}
		texts := map[string]uint64{}
		for s, v := range sm.All() {
			if _, twice := texts[s]; twice {
				t.Fatalf("All: %q twice", s)
			}
			texts[s] = v
		}
		for k, want := range model {
			if v, ok := texts[name(k)]; !seen[k] || !ok || v != want {
				t.Fatalf("All: %d is missing or wrong", k)
			}
		}
	})
}

// openTest opens an arena and closes it when the test ends.
func openTest(t testing.TB, c arena.Config) *arena.Arena {
	t.Helper()
	a, err := arena.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return a
}

// top returns the address of the next object.
func top(a *arena.Arena) uintptr { return uintptr(unsafe.Pointer(arena.New[struct{}](a))) }

// fill takes all memory that the arena may hand out.
func fill(a *arena.Arena) {
	for size := 1 << 30; size >= 8; size /= 2 {
		for err := error(nil); err == nil; _, err = a.TryAlloc(size, 8) {
		}
	}
}

// panicOf returns the error that f panics with; nil if it returns.
func panicOf(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = p.(error)
		}
	}()
	f()
	return nil
}
