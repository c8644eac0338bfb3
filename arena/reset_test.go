package arena

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// TestResetZeroes uses little and much memory in turns, by the fast path and by the slow one.
func TestResetZeroes(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		a := opened(t, Config{})
		for round := range 30 {
			size := []int{64, eager - 64, eager, eager + 8, 3 * clearStep, 1 << 20, 3 << 20}[round%7]
			for left := size; left > 0; left -= 32 {
				p := New[[4]uint64](a)
				if *p != [4]uint64{} {
					t.Fatalf("round %d: New is not zero", round)
				}
				*p = [4]uint64{1, 2, 3, 4}
			}
			b := a.Alloc(size, 8)
			mustBeZero(t, "Alloc", b)
			smear(b)
			a.Reset()
			if live := a.Stats().Live; live != 0 {
				t.Fatalf("%d bytes live after Reset", live)
			}
		}
	})
}

// decommits counts the calls that give memory back while f runs.
func decommits(f func()) int {
	stop := vm.Inject(vm.Mmap, 0, nil)
	f()
	return stop()
}

// mustGiveSpikeBack fills an arena, fresh and with a Retain of 256 KiB, in one large round and some small ones. The
// memory of the large one must go back. The result is a round that allocates size bytes.
func mustGiveSpikeBack(t *testing.T, a interface {
	Alloc(size, align int) []byte
	Reset()
	Stats() Stats
	Resident() (int64, error)
}) (round func(size int)) {
	t.Helper()
	round = func(size int) {
		b := a.Alloc(size, 8)
		mustBeZero(t, "Alloc", b)
		smear(b)
		a.Reset()
	}
	round(64 << 20)
	if c := a.Stats().Committed; c < 64<<20 {
		t.Fatalf("%d bytes committed right after the spike", c)
	}
	for range 60 {
		round(1 << 10)
	}
	if s := a.Stats(); s.Committed > 512<<10 || resident(t, a) > 512<<10 {
		t.Fatalf("after 60 small rounds: %+v", s)
	}
	return round
}

// TestSpikeGoesBack: the memory of one large round is given back after some small ones, down to Retain.
func TestSpikeGoesBack(t *testing.T) {
	a := opened(t, Config{Retain: 256 << 10})
	round := mustGiveSpikeBack(t, a)
	s := a.Stats()
	if s.Committed < 256<<10 {
		t.Fatalf("less than Retain is kept: %+v", s)
	}
	round(3 << 20)
	if s.HighWater != 64<<20 {
		t.Fatalf("high-water mark %d", s.HighWater)
	}
}

// TestSteadyRoundsKeepTheirMemory: rounds of about the same size neither give back nor commit memory.
func TestSteadyRoundsKeepTheirMemory(t *testing.T) {
	for name, round := range map[string]func(a *Arena, i int){
		"alloc": func(a *Arena, i int) { a.Alloc(8<<20+i%5<<20, 8) },
		"mark and rewind": func(a *Arena, i int) {
			m := a.Mark()
			a.Alloc(8<<20+i%5<<20, 8)
			a.Rewind(m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := opened(t, Config{})
			work := func() {
				for i := range 50 {
					round(a, i)
					a.Reset()
				}
			}
			work()
			stop := vm.Inject(vm.Mprotect, 0, nil)
			work()
			if n := stop(); n != 0 {
				t.Errorf("%d commits or decommits in steady rounds", n)
			}
			if n := decommits(work); n != 0 {
				t.Errorf("%d decommits in steady rounds", n)
			}
			a.Reset()
			if n := decommits(func() {
				for range 100 {
					a.Reset()
				}
			}); n == 0 || n > 8 {
				t.Errorf("%d decommits after the last round, want a few", n)
			}
		})
	}
}

func TestRetain(t *testing.T) {
	a := opened(t, Config{Retain: 8 << 20})
	smear(a.Alloc(12<<20, 8))
	for range 100 {
		a.Reset()
	}
	if c := a.Stats().Committed; c < 8<<20 {
		t.Fatalf("%d bytes committed, Retain is 8 MiB", c)
	}
}

// TestLimit: no function hands out more than Limit, rounded up to the granule.
func TestLimit(t *testing.T) {
	for _, limit := range []int{1, 8, 1000, 4096, 64 << 10, 100_001, 1 << 20} {
		a := opened(t, Config{Name: "small", Limit: limit})
		want := (limit + 7) / 8 * 8
		for name, take := range map[string]func() error{
			"New":    func() error { return panicOf(func() { *New[uint64](a) = 1 }) },
			"TryNew": func() error { _, err := TryNew[uint64](a); return err },
			"Alloc":  func() error { _, err := a.TryAlloc(1, 1); return err },
			"String": func() error { return panicOf(func() { String(a, "x") }) },
			"Append": func() error { return panicOf(func() { Append(a, nil, uint64(1)) }) },
		} {
			for range 2 {
				n, err := 0, take()
				for ; err == nil; err = take() {
					n++
				}
				if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), `"small"`) || !strings.Contains(err.Error(), "its Limit of") {
					t.Fatalf("%s: %v", name, err)
				}
				if live := int(a.Stats().Live); n != want/8 || live != want {
					t.Fatalf("%s: limit %d: %d objects, %d bytes", name, limit, n, live)
				}
				if s := a.Stats(); s.Committed > int64(alignUp(uintptr(want)+first, uintptr(guard.PageSize()))) {
					t.Fatalf("limit %d: %+v", limit, s)
				}
				a.Reset()
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReserveIsALimit(t *testing.T) {
	a := opened(t, Config{Reserve: 4 << 20})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = panicOf(func() { *New[[8]uint64](a) = [8]uint64{1} })
	}
	if n-1 != 4<<20/64-1 || !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "its Reserve of 4194304") {
		t.Fatalf("%d objects, %v", n-1, err)
	}
	a.Reset()
	*New[uint64](a) = 1
}

// resident returns how many bytes of an Arena or Concurrent are in RAM; -1 where the system does not tell.
func resident(t *testing.T, a interface{ Resident() (int64, error) }) int64 {
	t.Helper()
	n, err := a.Resident()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return -1
	case err != nil:
		t.Fatal(err)
	}
	return n
}

func TestHugePagesAndPrefault(t *testing.T) {
	for _, c := range []Config{{HugePages: true}, {Prefault: true}, {HugePages: true, Prefault: true}, {HugePages: true, Limit: 3 << 20}} {
		a := opened(t, c)
		New[uint64](a)
		s := a.Stats()
		if c.HugePages && (s.Committed == 0 || s.Committed%maxAlign != 0) {
			t.Errorf("%+v: %+v", c, s)
		}
		if n := resident(t, a); c.Prefault && n >= 0 && n != s.Committed {
			t.Errorf("%+v: %+v", c, s)
		}
		if !c.Prefault && !c.HugePages && resident(t, a) >= s.Committed {
			t.Errorf("%+v: %+v", c, s)
		}
		if c.Limit == 0 {
			smear(a.Alloc(9<<20, 8))
		}
		for range 60 {
			a.Reset()
			*New[uint64](a) = 1
		}
		if s := a.Stats(); c.HugePages && s.Committed%maxAlign != 0 || s.Committed > 4<<20 {
			t.Errorf("%+v: %+v", c, s)
		}
		mustBeZero(t, "after trimming", a.Alloc(2<<20, 8))
	}
}

func TestOnReset(t *testing.T) {
	a := opened(t, Config{})
	var calls []int
	add := func(ns ...int) {
		for _, n := range ns {
			a.OnReset(func() { calls = append(calls, n) })
		}
	}
	expect := func(what string, want ...int) {
		t.Helper()
		if !slices.Equal(calls, want) {
			t.Fatalf("%s: callbacks %v, want %v", what, calls, want)
		}
		calls = nil
	}
	add(1, 2, 3)
	a.Reset()
	expect("Reset", 3, 2, 1)
	a.Reset()
	expect("Reset again")

	add(1)
	m := a.Mark()
	add(2, 3)
	a.Rewind(m)
	expect("Rewind", 3, 2)
	add(4)
	a.Rewind(m)
	expect("Rewind again", 4)
	add(5)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	expect("Close", 5, 1)
}

// TestOnResetMarksWithoutMemory: two marks at the same place differ by the callback between them.
func TestOnResetMarksWithoutMemory(t *testing.T) {
	a := opened(t, Config{})
	outer := a.Mark()
	a.OnReset(func() {})
	inner := a.Mark()
	a.Rewind(outer)
	ran := false
	a.OnReset(func() { ran = true })
	err := panicOf(func() { a.Rewind(inner) })
	var v *guard.Violation
	if !errors.As(err, &v) || ran {
		t.Fatalf("rewinding to a mark behind a callback that has run: %v; a later callback ran: %v", err, ran)
	}
	a.Rewind(outer)
	if !ran {
		t.Fatal("the callback did not run")
	}
}

// TestOnResetSeesItsMemory: memory goes after the callbacks, and they may allocate and register others
// for the next time.
func TestOnResetSeesItsMemory(t *testing.T) {
	a := opened(t, Config{})
	var order []string
	for round := range 3 {
		p := New[uint64](a)
		*p = 7
		a.OnReset(func() {
			if *p != 7 {
				t.Error("the memory went before the callback")
			}
			*New[uint64](a) = 9
			order = append(order, "outer")
			a.OnReset(func() { order = append(order, "inner") })
		})
		order = nil
		a.Reset()
		if want := []string{"outer", "inner"}[:min(round+1, 2)]; !slices.Equal(order, want) {
			t.Fatal(order)
		}
		if a.Stats().Live != 0 {
			t.Fatal("what a callback allocated is still there")
		}
		if *New[[2]uint64](a) != [2]uint64{} {
			t.Fatal("not zero")
		}
	}
}

func TestOnResetPanics(t *testing.T) {
	for name, f := range map[string]func(a *Arena, m Mark){
		"Reset":  func(a *Arena, m Mark) { a.Reset() },
		"Rewind": func(a *Arena, m Mark) { a.Rewind(m) },
		"Close":  func(a *Arena, m Mark) { a.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a := opened(t, Config{})
			m := a.Mark()
			ran := 0
			a.OnReset(func() { ran++ })
			a.OnReset(func() { panic(errors.New("second")) })
			a.OnReset(func() { ran++ })
			a.OnReset(func() { ran++; panic(errors.New("first")) })
			New[uint64](a)
			if err := panicOf(func() { f(a, m) }); err == nil || err.Error() != "second" {
				t.Fatalf("panic %v", err)
			}
			if ran != 3 {
				t.Fatalf("%d of 3 callbacks ran", ran)
			}
			if a.top != first {
				t.Fatal("the memory was not freed")
			}
			if name != "Close" {
				a.Reset() // is not "called by a callback" any more
				*New[uint64](a) = 1
			} else if err := a.Close(); !errors.Is(err, guard.ErrClosed) {
				t.Fatal(err)
			}
		})
	}
}

// TestReadyAfterUse compares memory with the picture in the package comment, byte by byte.
func TestReadyAfterUse(t *testing.T) {
	a := opened(t, Config{})
	smear(a.Alloc(40<<10, 8))
	a.Reset()
	New[uint64](a)
	if a.ready >= a.dirty || a.dirty > a.committed {
		t.Fatalf("ready %d, dirty %d, committed %d: only some of what is dirty should have been cleared", a.ready, a.dirty, a.committed)
	}
	mustBeZero(t, "ready", unsafe.Slice((*byte)(unsafe.Add(a.base, a.top)), a.ready-a.top))
}
