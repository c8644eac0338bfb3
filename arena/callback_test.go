package arena

import (
	"errors"
	"slices"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideOnResetAgain: a callback that registers itself again runs once each time.
func TestOutsideOnResetAgain(t *testing.T) {
	nothingLeft(t)
	p := pooled(t, Config{Name: "pool"})
	for name, round := range map[string]func(a *Arena) *Arena{
		"Reset":  func(a *Arena) *Arena { a.Reset(); return a },
		"Put":    func(a *Arena) *Arena { p.Put(a); return get(t, p) },
		"Rewind": nil,
	} {
		t.Run(name, func(t *testing.T) {
			a, err := Open(Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if name == "Put" {
				a = get(t, p)
			}
			var calls []int
			outer := 0
			if name == "Rewind" {
				a.OnReset(func() { outer++ }) // stays below the mark
				m := a.Mark()
				round = func(a *Arena) *Arena { a.Rewind(m); return a }
			}
			var callbacks [3]func()
			for i := range callbacks {
				callbacks[i] = func() {
					calls = append(calls, i)
					if len(calls) < 1000 {
						a.OnReset(callbacks[i])
					}
				}
				a.OnReset(callbacks[i])
			}
			for n, want := range [][]int{{2, 1, 0}, {0, 1, 2}, {2, 1, 0}} {
				calls = nil
				New[uint64](a)
				a = round(a)
				if !slices.Equal(calls, want) {
					t.Fatalf("round %d: callbacks %v, want %v", n, calls, want)
				}
			}
			if outer != 0 {
				t.Error("a callback below the mark ran")
			}
			if allocs := testing.AllocsPerRun(100, func() { calls = calls[:0]; a = round(a) }); allocs > 0 {
				t.Errorf("%v allocations a round", allocs)
			}
			if len(a.onReset) > 4 {
				t.Errorf("%d callbacks are registered", len(a.onReset))
			}
			calls = make([]int, 0, 1000)
			if name == "Put" {
				p.Put(a)
				calls = calls[:0]
				p.Close()
			} else if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(calls); !slices.Equal(calls, []int{0, 1, 2}) {
				t.Errorf("callbacks during Close: %v, want each once", calls)
			}
		})
	}
}

// TestOutsideOnResetAgainThenPanics: those that are registered before a panic are kept as well.
func TestOutsideOnResetAgainThenPanics(t *testing.T) {
	a := opened(t, Config{})
	n := 0
	var again func()
	again = func() {
		if n++; n < 100 {
			a.OnReset(again)
		}
	}
	a.OnReset(again)
	a.OnReset(func() { panic(errors.New("callback")) })
	a.OnReset(again)
	if err := panicOf(a.Reset); err == nil || err.Error() != "callback" || n != 2 {
		t.Fatalf("%v, %d calls, want 2", err, n)
	}
	a.Reset()
	if n != 4 {
		t.Fatalf("%d calls, want 4", n)
	}
}

// TestOutsideMarksOfCallbacks: a mark that a callback took during Rewind is stale after it, though its
// place in memory is the same.
func TestOutsideMarksOfCallbacks(t *testing.T) {
	a := opened(t, Config{})
	m := a.Mark()
	var inner Mark
	ran := false
	a.OnReset(func() {
		a.OnReset(func() { ran = true })
		inner = a.Mark()
	})
	a.Rewind(m)
	var v *guard.Violation
	if err := panicOf(func() { a.Rewind(inner) }); !errors.As(err, &v) || ran {
		t.Fatalf("rewinding to a mark of a callback: %v; callback ran: %v", err, ran)
	}
	late := a.Mark()
	a.Rewind(late)
	if ran {
		t.Fatal("the callback ran with a Rewind to a mark after it")
	}
	a.Rewind(m)
	if !ran {
		t.Fatal("the callback did not run")
	}
	if err := panicOf(func() { a.Rewind(late) }); !errors.As(err, &v) {
		t.Fatalf("rewinding to a mark behind a callback that has run: %v", err)
	}
}

// TestOutsideMapGrownByCallback: memory that a map takes while callbacks run goes at the end, and the
// map says so, although OnReset would wait for the next time.
func TestOutsideMapGrownByCallback(t *testing.T) {
	a := opened(t, Config{})
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

// TestOutsideFailedNewMap: a map that does not fit keeps nothing of the arena.
func TestOutsideFailedNewMap(t *testing.T) {
	a := opened(t, Config{Limit: 100_000})
	New[[5]uint64](a)
	s := Append(a, nil, byte(1), 2, 3)
	before, mark := a.Stats().Live, a.Mark()
	for name, f := range map[string]func(){
		"NewMap":       func() { NewMap[int, int](a, 6000) },
		"NewStringMap": func() { NewStringMap[int](a, 4000) },
	} {
		if err := panicOf(f); !errors.Is(err, guard.ErrNoMemory) {
			t.Fatalf("%s: %v", name, err)
		}
		if live := a.Stats().Live; live != before || len(a.onReset) != 0 {
			t.Errorf("%s: %d bytes live and %d callbacks after a failure, %d before", name, live, len(a.onReset), before)
		}
	}
	if grown := Append(a, s, make([]byte, 40)...); &grown[0] != &s[0] {
		t.Error("the last allocation does not grow in place any more")
	}
	mustBeZero(t, "after failures", a.Alloc(50_000, 8))
	a.Rewind(mark)
}
