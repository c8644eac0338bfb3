package units

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// scenario does everything with a space that leads to system calls. It tries again what failed, and counts the errors.
func (s *fixture) scenario() (failures int) {
	s.t.Helper()
	try := func(f func() error) {
		s.t.Helper()
		err := f()
		if err != nil {
			if failures++; !errors.Is(err, guard.ErrNoMemory) {
				s.t.Errorf("the error does not wrap ErrNoMemory: %v", err)
			}
			s.check()
			err = f()
		}
		if err != nil {
			s.t.Errorf("it failed again: %v", err)
		}
		s.check()
	}
	take := func(n int) (first int) {
		s.t.Helper()
		try(func() (err error) { first, _, err = s.tryTake(n); return err })
		return first
	}
	few := true
	s.Intercept(func(mappings int) error {
		if few && mappings > 0 {
			return guard.ErrNoMemory
		}
		return nil
	})
	for range 2 {
		var firsts []int
		for _, n := range []int{1, 1, 3, 1, 16, 1, 2} {
			firsts = append(firsts, take(n))
		}
		for i := 0; i < len(firsts); i += 2 {
			s.give(firsts[i])
			s.check()
		}
		try(func() error { return s.Purge(0, s.now) }) // some are discarded
		firsts[0], firsts[2] = take(1), take(4)
		few = false
		try(func() error { return s.Purge(0, s.now) })
		for _, i := range []int{0, 1, 2, 3, 5} {
			s.give(firsts[i])
			s.check()
		}
		try(func() error { return s.Purge(0, s.now) })
	}
	if s.DiscardedBytes() > 0 { // a decommit failed
		try(func() error { return s.Purge(0, s.now) })
	}
	if n := s.region.Committed(); n != 0 {
		s.t.Errorf("%d bytes are committed after all", n)
	}
	return failures
}

// TestFailEveryCall lets every system call of the scenario fail once.
func TestFailEveryCall(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 4
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			open(t, 64, mode).scenario()
			total := 0
			for kind := range vm.Kinds {
				reported, calls := 0, 1
				for nth := 1; nth <= calls && !t.Failed(); nth += step {
					s := open(t, 64, mode)
					stop := vm.Inject(kind, nth, vm.OutOfMemory)
					n := s.scenario()
					calls = stop()
					if n > 1 {
						t.Errorf("%v %d fails: %d errors", kind, nth, n)
					}
					if t.Failed() {
						t.Errorf("when %v %d fails", kind, nth)
					}
					reported += n
				}
				t.Logf("%-12v %3d calls, %3d failures reported", kind, calls, reported)
				total += reported
			}
			if total == 0 {
				t.Error("no failure was reported")
			}
		})
	}
}
