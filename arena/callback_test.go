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

// TestOutsideOnResetAgainThenPanics: callbacks that register themselves again stay registered if another one panics.
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

// TestOutsideMarksOfCallbacks: a mark that a callback takes during Rewind is stale afterwards, although the next
// allocation is at the same place.
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

// TestCancelOnReset cancels callbacks before, while and after others are called.
func TestCancelOnReset(t *testing.T) {
	a := opened(t, Config{})
	var ran []int
	register := func(i int) (cancel func()) { return a.OnReset(func() { ran = append(ran, i) }) }
	ranAre := func(what string, want ...int) {
		t.Helper()
		if !slices.Equal(ran, want) {
			t.Fatalf("%s: callbacks %v, want %v", what, ran, want)
		}
		ran = nil
	}
	register(1)
	cancel := register(2)
	register(3)
	cancel()
	cancel()
	a.Reset()
	ranAre("cancelled twice", 3, 1)

	cancel() // names no callback any more
	register(4)
	a.Reset()
	ranAre("cancelled late", 4)

	// A Rewind to a mark takes the callbacks that were registered after it, whatever was cancelled.
	cancel = register(1)
	m := a.Mark()
	cancel()
	register(2)
	cancel = register(3)
	register(4)
	cancel()
	a.Rewind(m)
	ranAre("Rewind", 4, 2)
	if len(a.onReset) != 0 {
		t.Errorf("%d callbacks are left", len(a.onReset))
	}

	// By a callback: one that is still to come, one that has run, itself, one that it registers.
	first, last := register(1), func() {}
	var self func()
	self = a.OnReset(func() {
		ran = append(ran, 2)
		first()
		self()
		last()
		register(5)()
		register(6)
	})
	last = register(3)
	a.Reset()
	ranAre("cancelled by a callback", 3, 2)
	a.Reset()
	ranAre("registered by a callback", 6)

	// What is cancelled takes no memory, in whatever order.
	register(0)
	var cancels []func()
	for range 1000 {
		cancels = append(cancels, a.OnReset(func() { t.Error("a cancelled callback ran") }))
	}
	for i := range cancels {
		cancels[i*7%1000]()
	}
	if n := len(a.onReset); n > 2 {
		t.Errorf("%d callbacks are kept, one was not cancelled", n)
	}
	for range 100 {
		a.OnReset(func() { t.Error("a cancelled callback ran") })()
	}
	a.Reset()
	ranAre("many cancelled", 0)

	cancel = register(1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	ranAre("Close", 1)
}

// TestEpoch: an epoch ends when memory is freed, and callbacks see that it does.
func TestEpoch(t *testing.T) {
	p := pooled(t, Config{Name: "pool"})
	a := get(t, p)
	if a.Name() != "pool" || a.Err() != nil {
		t.Errorf("name %q, error %v", a.Name(), a.Err())
	}
	m := a.Mark()
	for what, end := range map[string]func(){"Reset": a.Reset, "Rewind": func() { m = a.Mark(); a.Rewind(m) }, "Put": func() { p.Put(a); a = get(t, p) }} {
		before, ending := a.Epoch()
		if ending {
			t.Errorf("before %s: the epoch ends", what)
		}
		called := false
		if what != "Rewind" {
			a.OnReset(func() {
				called = true
				if n, ending := a.Epoch(); n != before || !ending {
					t.Errorf("while callbacks of %s run: epoch %d, ending %v; before %d", what, n, ending, before)
				}
			})
		}
		end()
		if after, ending := a.Epoch(); after == before || ending || called != (what != "Rewind") {
			t.Errorf("after %s: epoch %d, ending %v; before %d; callback called: %v", what, after, ending, before, called)
		}
	}
	p.Put(a)
	var v *guard.Violation
	if err := a.Err(); !errors.As(err, &v) || v.Kind != guard.UseAfterPut {
		t.Errorf("after Put: %v", err)
	}
	b := opened(t, Config{})
	before, _ := b.Epoch()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if after, _ := b.Epoch(); after == before {
		t.Error("the epoch did not end with Close")
	}
	if err := b.Err(); !errors.As(err, &v) || v.Kind != guard.UseAfterClose {
		t.Errorf("after Close: %v", err)
	}
	for _, a := range []*Arena{new(Arena), nil} {
		if n, ending := a.Epoch(); n != 0 || ending || a.Name() != "" || !errors.As(a.Err(), &v) {
			t.Errorf("a zero Arena is in epoch %d, ending %v, with name %q and error %v", n, ending, a.Name(), a.Err())
		}
	}
}
