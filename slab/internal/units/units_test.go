package units

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// fixture is a space whose slabs the test knows.
type fixture struct {
	*Space
	t     testing.TB
	now   uint32
	slabs map[int]int // the number of units of each slab, by its first
}

// modes are the kinds of spaces: of a plain heap, and of hardened ones with guards of either kind.
var modes = []string{"plain", "markers", "mprotect"}

// each runs f with a space of n units of each kind.
func each(t *testing.T, n int, f func(t *testing.T, s *fixture)) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { f(t, open(t, n, mode)) })
	}
}

func open(t testing.TB, n int, mode string) *fixture {
	t.Helper()
	if mode == "markers" && !guard.LightGuards() {
		t.Skip("guards are not markers")
	}
	r, err := region.Reserve(region.Config{Name: "units", Size: n * Size, DeferOnSoft: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &fixture{Space: new(Space), t: t, slabs: map[int]int{}}
	s.Open(r, mode != "plain")
	s.markers = mode == "markers"
	return s
}

func (s *fixture) check() {
	s.t.Helper()
	taken := make([]bool, s.free.Len())
	for first, n := range s.slabs {
		for u := first; u < first+n; u++ {
			if taken[u] {
				s.t.Fatalf("unit %d is in two slabs", u)
			}
			taken[u] = true
		}
		if s.guards > 0 {
			if g := first + n; g >= len(taken) || taken[g] || s.free.Has(g) || s.decommitted.Has(g) {
				s.t.Fatalf("no guard behind units %d to %d", first, g)
			}
		}
	}
	s.Check(func(u int) bool { return taken[u] })
}

// bytes returns the memory of n units.
func (s *fixture) bytes(first, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(s.region.Base(), first*Size)), n*Size)
}

// tryTake takes n units. If they should be clean, it reads that they are; it writes to all OS pages.
func (s *fixture) tryTake(n int) (first int, clean bool, err error) {
	s.t.Helper()
	if first, clean, err = s.Take(n, s.now); err != nil {
		s.check()
		return first, clean, err
	}
	s.slabs[first] = n
	b := s.bytes(first, n)
	for at := range b {
		if clean && b[at] != 0 {
			s.t.Fatalf("units %d to %d: byte %d is %d, and they are clean", first, first+n, at, b[at])
		}
		if at%1024 == 0 {
			b[at] = byte(first) | 1
		}
	}
	return first, clean, nil
}

func (s *fixture) take(n int) (first int, clean bool) {
	s.t.Helper()
	first, clean, err := s.tryTake(n)
	if err != nil {
		s.t.Fatal(err)
	}
	return first, clean
}

// give gives a slab back, which must have the contents that tryTake wrote.
func (s *fixture) give(first int) {
	s.t.Helper()
	n := s.slabs[first]
	for at, x := range s.bytes(first, n) {
		if at%1024 == 0 && x != byte(first)|1 || at%1024 != 0 && x != 0 && s.guards > 0 {
			s.t.Fatalf("units %d to %d: byte %d is %d", first, first+n, at, x)
		}
	}
	delete(s.slabs, first)
	s.Give(first, n, s.now)
}

func (s *fixture) purge(age uint32) {
	s.t.Helper()
	if err := s.Purge(age, s.now); err != nil {
		s.t.Error(err)
	}
}

// empty gives all slabs back and purges: nothing stays committed.
func (s *fixture) empty() {
	s.t.Helper()
	for first := range s.slabs {
		s.give(first)
	}
	s.purge(0)
	s.check()
	if n := s.region.Committed(); n != 0 || s.Taken() != 0 || s.DiscardedBytes() != 0 {
		s.t.Errorf("%d bytes are committed, %d units taken, %d bytes discarded", n, s.Taken(), s.DiscardedBytes())
	}
}

// faults tells whether a touch of a unit's byte faults.
func (s *fixture) faults(u, at int) bool {
	b := s.bytes(u, 1)
	return guard.Catch(func() { b[at] ^= 1 }) != nil
}

// TestLowestFirst takes units where others were given back, and below all others.
func TestLowestFirst(t *testing.T) {
	each(t, 100, func(t *testing.T, s *fixture) {
		slab := 1 + s.guards
		for i := range 20 {
			if first, clean := s.take(1); first != i*slab || !clean {
				t.Fatalf("slab %d has unit %d, clean: %v", i, first, clean)
			}
		}
		for _, i := range []int{3, 4, 5, 11} {
			s.give(i * slab)
		}
		s.check()
		for _, step := range []struct{ n, first int }{{2, 3}, {1, 3 + 2}, {1, 11}, {3, 20}} {
			if s.guards > 0 && step.n > 1 { // a slab of two units and a guard takes one unit less than two of one
				step.n += step.n - 1
			}
			first, clean := s.take(step.n)
			if first != step.first*slab {
				t.Errorf("%d units: from %d on, want %d", step.n, first, step.first*slab)
			}
			if fresh := s.guards > 0 || step.first == 20; clean != fresh {
				t.Errorf("%d units from %d on: clean %v", step.n, first, clean)
			}
		}
		s.check()
		if s.Taken() == 0 {
			t.Error("no units are taken")
		}
		s.empty()
	})
}

// TestCommitsAhead counts the system calls that a heap makes as it grows, and what it commits too much.
func TestCommitsAhead(t *testing.T) {
	s := open(t, 4000, "plain")
	stop := vm.Inject(vm.Mprotect, 0, nil)
	for range 2000 {
		if _, _, err := s.Take(1, 0); err != nil {
			t.Fatal(err)
		}
		if more := int(s.region.Committed()/Size) - s.Taken(); more > min(max(s.Taken()/8, 1), 64) {
			t.Fatalf("%d units are taken, and %d more are committed", s.Taken(), more)
		}
	}
	if calls := stop(); calls > 80 {
		t.Errorf("%d calls of mprotect for 2000 units", calls)
	}
}

// TestFull asks for more units than there are.
func TestFull(t *testing.T) {
	each(t, 12, func(t *testing.T, s *fixture) {
		if _, _, err := s.tryTake(13); err == nil {
			t.Fatal("13 units of 12")
		}
		for len(s.slabs) < 12/(1+s.guards) {
			s.take(1)
		}
		_, _, err := s.tryTake(1)
		var full *FullError
		want := fmt.Sprintf(`slab: "units": %d bytes more exceed its Reserve of 786432: no memory`, (1+s.guards)*Size)
		if !errors.As(err, &full) || !errors.Is(err, guard.ErrNoMemory) || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if n := testing.AllocsPerRun(100, func() { s.Take(1, 0) }); n > 1 {
			t.Errorf("a refusal makes %v allocations", n)
		}
		s.give(0)
		s.take(1)
		s.check()
		s.empty()
	})
}

// TestBudget asks for units when the budget has no more.
func TestBudget(t *testing.T) {
	each(t, 100, func(t *testing.T, s *fixture) {
		s.take(1)
		before := s.region.Committed()
		room := int64(3+s.guards)*Size - Size/2 // for a slab of two units, and not ahead of it
		if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + room}); err != nil {
			t.Fatal(err)
		}
		defer guard.SetBudget(guard.Budget{})
		if _, _, err := s.tryTake(6); !errors.Is(err, guard.ErrNoMemory) || s.region.Committed() != before {
			t.Errorf("%v; %d bytes are committed, %d were", err, s.region.Committed(), before)
		}
		s.take(2)
		s.check()
		s.empty()
	})
}

// TestHold shows that a held space lets nobody in.
func TestHold(t *testing.T) {
	s := open(t, 10, "plain")
	done := make(chan int)
	s.Hold(func() {
		go func() { done <- s.Taken() }()
		select {
		case <-done:
			t.Error("Taken returned")
		default:
		}
	})
	<-done
}
