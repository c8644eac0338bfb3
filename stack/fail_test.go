package stack

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// scenario makes every call of a pool that leads to system calls, and returns the errors of these calls. It
// repeats a call that failed once, after a call of lift, and the call must succeed then: an injected
// failure happens once, and lift ends any other cause of failure.
func scenario(t *testing.T, what string, lift func()) (errs []error) {
	try := func(op string, f func() error) {
		t.Helper()
		if err := f(); err != nil {
			errs = append(errs, err)
			lift()
			if err := f(); err != nil {
				t.Errorf("%s: %s failed again: %v", what, op, err)
			}
		}
	}
	var p *Pool
	try("OpenPool", func() (err error) {
		p, err = OpenPool(Config{Size: 64 << 10, Max: 24, Retain: 4 << 10})
		return err
	})
	taken := map[*Stack]bool{}
	var order []*Stack
	fill := func(n int) {
		for range n {
			try("Get", func() error {
				s, err := p.TryGet()
				if err == nil {
					taken[s] = true
					order = append(order, s)
				}
				return err
			})
		}
	}
	put := func(n int) {
		for range n {
			p.Put(order[0])
			delete(taken, order[0])
			order = order[1:]
		}
	}
	fill(16)
	for _, s := range order {
		for i, x := range s.Alloc(60<<10, 8) {
			if x != 0 {
				t.Fatalf("%s: byte %d is %d", what, i, x)
			}
		}
		s.Alloc(1, 8)[0] = 1
		if f := touched(s, -1); f == nil {
			t.Fatalf("%s: a stack has no guard", what)
		}
	}
	p.checkInvariants(taken)
	order[0].head.Native = true // as if native code ran, so that Put looks at the depth
	put(8)
	p.checkInvariants(taken)
	try("Purge", p.Purge)
	p.checkInvariants(taken)
	fill(16)
	put(24)
	p.checkInvariants(taken)
	if _, err := p.TryGet(); err != nil {
		errs = append(errs, err)
	} else {
		for s := range p.inUse() {
			p.Put(s)
		}
	}
	p.checkInvariants(nil)
	try("Purge of all", p.Purge)
	p.checkInvariants(nil)
	if s := p.Stats(); s.Committed > 64<<10 {
		t.Errorf("%s: %d bytes stay committed", what, s.Committed)
	}
	if err := p.Close(); err != nil {
		errs = append(errs, err)
		if err := p.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Errorf("%s: Close failed again: %v", what, err)
		}
	}
	return errs
}

// TestFailPool lets each system call of the scenario fail once. The pool returns the error or finds another
// way, the invariants hold, nothing leaks, and the next call works.
func TestFailPool(t *testing.T) {
	alloctest.SetQuarantine(t, 1<<30)
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		if errs := scenario(t, "nothing injected", func() {}); errs != nil {
			t.Fatalf("nothing injected: %v", errs)
		}
		calls := stop()
		for nth := 1; nth <= calls; nth++ {
			before := guard.Usage()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			errs := scenario(t, kind.String(), func() {})
			stop()
			if len(errs) > 1 {
				t.Errorf("%v %d of %d: one failure gave %d errors: %v", kind, nth, calls, len(errs), errs)
			}
			for _, err := range errs {
				if !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%v %d: %v", kind, nth, err)
				}
			}
			after := guard.Usage()
			if before.Regions != after.Regions || before.Committed != after.Committed || before.Reserved != after.Reserved {
				t.Errorf("%v %d of %d: before %+v, after %+v", kind, nth, calls, before, after)
			}
			if t.Failed() {
				t.Fatalf("at %v %d of %d: %v", kind, nth, calls, errs)
			}
		}
		t.Logf("%-12v %2d positions", kind, calls)
	}
}

// TestBudgetEverywhere repeats the scenario with larger and larger hard limits, until none is met.
func TestBudgetEverywhere(t *testing.T) {
	alloctest.SetQuarantine(t, 1<<30)
	lift := func() { guard.SetBudget(guard.Budget{}) }
	defer lift()
	refused := 0
	for pages := 0; !t.Failed(); pages += 1 + pages/8 {
		before := guard.Usage()
		if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + max(int64(pages*guard.PageSize()), 1)}); err != nil {
			t.Fatal(err)
		}
		errs := scenario(t, fmt.Sprintf("%d OS pages", pages), lift)
		lift()
		if len(errs) > 1 || len(errs) == 1 && !errors.Is(errs[0], guard.ErrNoMemory) {
			t.Errorf("%d OS pages: got %v, want one error that wraps ErrNoMemory", pages, errs)
		}
		if after := guard.Usage(); before.Regions != after.Regions || before.Committed != after.Committed || before.Reserved != after.Reserved {
			t.Errorf("%d OS pages: before %+v, after %+v", pages, before, after)
		}
		if len(errs) == 0 {
			break // the budget was large enough
		}
		refused++
	}
	t.Logf("refused at %d levels", refused)
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
