package table

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// TestMapIterationWithChanges changes a Map at random while All iterates, and checks what the comment of
// All promises.
func TestMapIterationWithChanges(t *testing.T) {
	a := openTest(t, arena.Config{})
	for round := range 60 {
		m := NewMap[int, int](a, 0)
		n := 1 + rand.IntN(3000)
		for i := range n {
			m.Put(i, 0)
		}
		stays := func(k int) bool { return k < n && k%3 == 0 }
		deleted, seen := map[int]bool{}, map[int]bool{}
		next := n
		for k, v := range m.All() {
			if seen[k] || deleted[k] {
				t.Fatalf("round %d: %d came again, or after it was deleted", round, k)
			}
			if want, _ := m.Get(k); v != want {
				t.Fatalf("round %d: value %d of %d, which is %d", round, v, k, want)
			}
			seen[k] = true
			for range rand.IntN(4) {
				switch victim := rand.IntN(next); rand.IntN(3) {
				case 0:
					if !stays(victim) && m.Delete(victim) {
						deleted[victim] = true
					}
				case 1:
					m.Put(next, 1) // each makes the map grow a little
					next++
				case 2:
					if v := m.Lookup(victim); v != nil {
						*v++
					}
				}
			}
			if next > 3*n+100 {
				break
			}
		}
		for k := range n {
			if next <= 3*n+100 && stays(k) && !seen[k] {
				t.Fatalf("round %d: %d of %d was there all the time and did not come", round, k, n)
			}
		}
	}
	// Deleting every entry that comes leaves an empty table, and the iteration ends.
	m := NewStrings[int](a, 0)
	for i := range 10000 {
		m.Put(fmt.Sprint(i), i)
	}
	for key := range m.All() {
		m.Delete(key)
	}
	if m.Len() != 0 {
		t.Errorf("%d left after deleting all", m.Len())
	}
}

func TestMapUseAfterFree(t *testing.T) {
	violates := func(what string, f func()) {
		t.Helper()
		defer func() {
			if v, ok := recover().(*guard.Violation); !ok {
				t.Errorf("%s: %v, want a violation", what, v)
			}
		}()
		f()
	}
	uses := func(what string, m *Map[int, int], sm *Strings[int]) {
		t.Helper()
		violates(what+": Get", func() { m.Get(1) })
		violates(what+": Lookup", func() { m.Lookup(1) })
		violates(what+": Put", func() { m.Put(1, 1) })
		violates(what+": Entry", func() { m.Entry(1) })
		violates(what+": Delete", func() { m.Delete(1) })
		violates(what+": Len", func() { m.Len() })
		violates(what+": All", func() {
			for range m.All() {
			}
		})
		violates(what+": TryEntry", func() { m.TryEntry(1) })
		violates(what+": Get", func() { sm.Get("1") })
		violates(what+": LookupBytes", func() { sm.LookupBytes([]byte("1")) })
		violates(what+": TryEntry", func() { sm.TryEntry("1") })
		violates(what+": DeleteBytes", func() { sm.DeleteBytes([]byte("1")) })
		violates(what+": Entry", func() { sm.EntryBytes([]byte("1")) })
		violates(what+": Len", func() { sm.Len() })
	}
	fill := func(a *arena.Arena) (*Map[int, int], *Strings[int]) {
		m, sm := NewMap[int, int](a, 0), NewStrings[int](a, 0)
		for i := range 100 {
			m.Put(i, i)
			sm.Put(fmt.Sprint(i), i)
		}
		return m, sm
	}

	a := openTest(t, arena.Config{})
	m, sm := fill(a)
	a.Reset()
	uses("Reset", m, sm)
	NewMap[int, int](a, 1000) // lies where the other was
	uses("Reset and reuse", m, sm)
	a.OnReset(func() { uses("Reset, in a later callback", m, sm) })
	a.Reset()

	mark := a.Mark()
	m, sm = fill(a)
	a.Rewind(mark)
	uses("Rewind", m, sm)

	// A map that did not grow since the mark survives, however often it is rewound.
	m, sm = fill(a)
	mark = a.Mark()
	for range 100 {
		arena.New[[4]int](a)
		m.Put(1, 2)
		a.Rewind(mark)
		if v, ok := m.Get(1); v != 2 || !ok || sm.Len() != 100 {
			t.Fatal("the map is lost")
		}
	}
	for i := range 1000 {
		m.Put(i, i) // grows above the mark
		sm.Put(fmt.Sprint(i), i)
	}
	a.Rewind(mark)
	uses("Rewind below what it grew to", m, sm)

	// Callbacks may use the map, whether they were registered before or after it grew.
	m, sm = fill(a)
	called := 0
	look := func() {
		if v, ok := m.Get(42); v == 42 && ok && sm.Len() >= 100 && len(maps.Collect(m.All())) == m.Len() {
			called++
		}
	}
	a.OnReset(look)
	for i := range 1000 {
		m.Put(i, i)
	}
	a.OnReset(look)
	a.Reset()
	if called != 2 {
		t.Errorf("%d of 2 callbacks could use the map", called)
	}

	// In the middle of an iteration.
	m, sm = fill(a)
	violates("Reset while iterating", func() {
		for range m.All() {
			a.Reset()
		}
	})

	m, sm = fill(a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	uses("Close", m, sm)

	p, err := arena.OpenPool(arena.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pa := p.Get()
	m, sm = fill(pa)
	p.Put(pa)
	uses("Put", m, sm)
	pa = p.Get()
	uses("Put and Get", m, sm)
	p.Put(pa)
}

// TestOutsideMapGrownByCallback: a callback of OnReset may grow a table. That memory is freed when the
// callbacks are done, so the table is invalid then, although OnReset would wait for the next Reset.
func TestOutsideMapGrownByCallback(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[int, int](a, 0)
	mark := a.Mark()
	a.OnReset(func() {
		for i := range 1000 {
			m.Put(i, i)
		}
		if v, ok := m.Get(999); !ok || v != 999 {
			t.Error("the map should work while callbacks run")
		}
	})
	a.Rewind(mark)
	var v *guard.Violation
	if err := panicOf(func() { m.Get(1) }); !errors.As(err, &v) {
		t.Fatalf("a map whose memory went: %v", err)
	}
}

// TestOutsideFailedNewMap: a table that does not fit keeps no memory of the arena and no callback.
func TestOutsideFailedNewMap(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 100_000})
	arena.New[[5]uint64](a)
	s := arena.Append(a, nil, byte(1), 2, 3)
	before, mark := a.Stats().Live, a.Mark()
	m, strings := new(Map[int, int]), new(Strings[int])
	for name, f := range map[string]struct {
		call, open func() error
		watching   func() bool
	}{
		"NewMap": {
			func() error { return panicOf(func() { NewMap[int, int](a, 6000) }) },
			func() error { return m.open(a, "NewMap", 6000) },
			func() bool { return !m.invalid },
		},
		"NewStrings": {
			func() error { return panicOf(func() { NewStrings[int](a, 4000) }) },
			func() error { return strings.open(a, "NewStrings", 4000) },
			func() bool { return !strings.invalid },
		},
	} {
		for _, call := range []func() error{f.call, f.open} {
			if err := call(); !errors.Is(err, guard.ErrNoMemory) {
				t.Fatalf("%s: %v", name, err)
			}
			if live := a.Stats().Live; live != before {
				t.Errorf("%s: %d bytes live after a failure, %d before", name, live, before)
			}
		}
		if f.watching() { // a callback that has been called is not registered any more
			t.Errorf("%s: a callback is left after a failure", name)
		}
	}
	if grown := arena.Append(a, s, make([]byte, 40)...); &grown[0] != &s[0] {
		t.Error("the last allocation does not grow in place any more")
	}
	for i, b := range a.Alloc(50_000, 8) {
		if b != 0 {
			t.Fatalf("after failures byte %d is %d", i, b)
		}
	}
	a.Rewind(mark)
}
