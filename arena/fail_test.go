package arena

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// scenario makes all calls of the package that lead to system calls. It notes errors, tries the call again that
// failed, and checks contents.
type scenario struct {
	t    *testing.T
	what string
	lift func() // ends what makes calls fail; nil where it happens once
	errs []error
}

// try calls f until it succeeds, at most twice.
func (s *scenario) try(op string, f func() error) {
	s.t.Helper()
	err := f()
	if err == nil {
		return
	}
	s.errs = append(s.errs, err)
	if s.lift != nil {
		s.lift()
	}
	if err := f(); err != nil {
		s.t.Errorf("%s: %s failed again: %v", s.what, op, err)
	}
}

// piece allocates n bytes, which must be zero, and fills them.
func (s *scenario) piece(a *Arena, n int) (b []byte) {
	s.t.Helper()
	s.try("Alloc", func() (err error) {
		top := a.top
		if b, err = a.TryAlloc(n, 8); err != nil {
			if !errors.Is(err, guard.ErrNoMemory) {
				s.t.Errorf("%s: the error does not wrap ErrNoMemory: %v", s.what, err)
			}
			if a.top != top {
				s.t.Errorf("%s: a refused Alloc took memory", s.what)
			}
		}
		return err
	})
	mustBeZero(s.t, s.what, b)
	smear(b)
	a.check()
	return b
}

func (s *scenario) intact(b []byte) {
	s.t.Helper()
	mustAllBe(s.t, s.what, b, smeared)
}

func (s *scenario) run() {
	s.single()
	s.pool()
	s.concurrent()
}

func (s *scenario) single() {
	for _, c := range []Config{{Name: "plain", Retain: 64 << 10}, {Name: "huge", HugePages: true, Retain: 64 << 10}, {Name: "ahead", Prefault: true, Reserve: 32 << 20, Retain: 64 << 10}} {
		var a *Arena
		s.try("Open", func() (err error) { a, err = Open(c); return err })
		for range 2 {
			first := s.piece(a, 100)
			m := a.Mark()
			s.piece(a, 200<<10)
			a.Rewind(m)
			large := s.piece(a, 1<<20)
			s.try("New", func() error { return panicOf(func() { New[[100 << 10]byte](a)[5] = 1 }) })
			s.try("Append", func() error { return panicOf(func() { Append(a, large, make([]byte, 1<<20)...) }) })
			s.intact(first)
			s.intact(large)
			a.Stats()
			a.Reset()
			for range 12 { // until memory goes back
				s.piece(a, 50)
				a.Reset()
				a.check()
			}
		}
		s.intact(s.piece(a, 100<<10))
		s.close(a.Close)
		if a.state != stateClosed {
			s.t.Errorf("%s: the arena is open after Close", s.what)
		}
	}
}

// close calls f, which closes. After a failure a second call may return that the memory was gone already.
func (s *scenario) close(f func() error) {
	s.t.Helper()
	failed := false
	s.try("Close", func() error {
		err := f()
		if failed && errors.Is(err, guard.ErrClosed) {
			return nil
		}
		failed = err != nil
		return err
	})
}

func (s *scenario) pool() {
	var p *Pool
	s.try("OpenPool", func() (err error) { p, err = OpenPool(Config{Name: "pool", Retain: 64 << 10}); return err })
	for range 2 {
		var out []*Arena
		for range 3 {
			var a *Arena
			s.try("TryGet", func() (err error) { a, err = p.TryGet(); return err })
			s.piece(a, 300<<10)
			out = append(out, a)
		}
		for _, a := range out {
			p.Put(a)
		}
		s.try("Purge", p.Purge)
		if got := p.Stats(); got != (PoolStats{}) {
			s.t.Errorf("%s: after Purge: %+v", s.what, got)
		}
	}
	var late, idle *Arena
	s.try("TryGet", func() (err error) { late, err = p.TryGet(); return err })
	s.try("TryGet", func() (err error) { idle, err = p.TryGet(); return err })
	s.piece(late, 1000)
	s.piece(idle, 1000)
	p.Put(idle)
	s.close(p.Close)
	p.Put(late)
	if p.Stats().Open != 0 { // Put closes the arena and has no error to return
		s.errs = append(s.errs, errors.New("late Put"))
		s.close(p.Close)
	}
	if got := p.Stats(); got != (PoolStats{}) {
		s.t.Errorf("%s: after Close: %+v", s.what, got)
	}
}

func (s *scenario) concurrent() {
	var k *Concurrent
	s.try("OpenConcurrent", func() (err error) { k, err = OpenConcurrent(Config{Name: "concurrent"}); return err })
	for range 2 {
		var all [][]byte
		for i := range 30 {
			var b []byte
			s.try("Alloc", func() (err error) { b, err = k.TryAlloc(8000+i*3000, 8); return err })
			mustBeZero(s.t, s.what, b)
			smear(b)
			all = append(all, b)
			s.try("NewIn", func() error { return panicOf(func() { *NewIn[[2]uint64](k) = [2]uint64{1, 2} }) })
		}
		for _, b := range all {
			s.intact(b)
		}
		k.Stats()
		k.Reset()
	}
	s.close(k.Close)
	if !k.closed.Load() {
		s.t.Errorf("%s: the arena is open after Close", s.what)
	}
}

// TestFailEveryCall lets every system call of the scenario fail once. The failure is either reported or made up
// for. Nothing is lost or leaked, and the next call works.
func TestFailEveryCall(t *testing.T) {
	alloctest.SetQuarantine(t, 0) // so that addresses are given back too, and it does not give way to a Commit that fails
	reported := map[vm.Kind]int{}
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		(&scenario{t: t, what: "no failure"}).run()
		n := stop()
		t.Logf("%v: %d calls", kind, n)
		step := 1
		if testing.Short() {
			step = 7
		}
		for nth := 1; nth <= n; nth += step {
			before := guard.Usage()
			s := &scenario{t: t, what: fmt.Sprintf("%v %d of %d fails", kind, nth, n)}
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			s.run()
			stop()
			s.finish(before)
			reported[kind] += len(s.errs)
		}
	}
	for kind, want := range map[vm.Kind]bool{vm.Mmap: true, vm.Munmap: false, vm.Mprotect: true, vm.Mincore: false} {
		if want && reported[kind] == 0 && !testing.Short() {
			t.Errorf("no failure of %v was ever reported", kind)
		}
	}
}

// finish checks that one failure made at most one error, and that nothing is left behind.
func (s *scenario) finish(before guard.Totals) {
	s.t.Helper()
	after := guard.Usage()
	if after.Regions != before.Regions || after.Committed != before.Committed || after.Reserved != before.Reserved || after.Live != before.Live {
		s.t.Fatalf("%s: something is left behind:\nbefore %+v\nafter  %+v", s.what, before, after)
	}
	if len(s.errs) > 1 {
		s.t.Errorf("%s: one failure made several errors: %v", s.what, s.errs)
	}
}

// TestBudgetEverywhere runs the scenario with every budget, up to one that suffices.
func TestBudgetEverywhere(t *testing.T) {
	alloctest.SetQuarantine(t, 1<<30)
	lift := func() { guard.SetBudget(guard.Budget{}) }
	defer lift()
	refused := 0
	for pages := 0; !t.Failed(); pages += 1 + pages/8 {
		before := guard.Usage()
		s := &scenario{t: t, what: fmt.Sprintf("%d OS pages", pages), lift: lift}
		if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + max(int64(pages*guard.PageSize()), 1)}); err != nil {
			t.Fatal(err)
		}
		s.run()
		lift()
		s.finish(before)
		if len(s.errs) == 0 {
			break // that was enough
		}
		if !errors.Is(s.errs[0], guard.ErrNoMemory) {
			t.Errorf("%s: the error does not wrap ErrNoMemory: %v", s.what, s.errs[0])
		}
		refused++
	}
	t.Logf("refused at %d levels", refused)
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestCloseFailsAndIsTriedAgain: an arena that the kernel refuses to close stays as it was.
func TestCloseFailsAndIsTriedAgain(t *testing.T) {
	nothingLeft(t)
	a, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := New[uint64](a)
	*p = 7
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	err = a.Close()
	stop()
	if err == nil || errors.Is(err, guard.ErrClosed) {
		t.Fatal(err)
	}
	if *p != 7 || *New[uint64](a) != 0 {
		t.Fatal("the arena is not as it was")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPoolCloseIsTriedAgain: arenas that the kernel refuses to close stay in the pool.
func TestPoolCloseIsTriedAgain(t *testing.T) {
	p := pooled(t, Config{})
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	err := p.Close()
	stop()
	if err == nil || errors.Is(err, guard.ErrClosed) {
		t.Fatal(err)
	}
	counts(t, "after a failure", p, 1, 1)
	if _, err := p.TryGet(); !errors.Is(err, guard.ErrClosed) {
		t.Fatalf("TryGet after a Close that failed: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	counts(t, "closed", p, 0, 0)
}

// TestCommitsLessWhenItMust: an arena commits memory ahead only if the budget allows it.
func TestCommitsLessWhenItMust(t *testing.T) {
	a := opened(t, Config{})
	page := guard.PageSize()
	if _, err := guard.SetBudget(guard.Budget{Hard: guard.Usage().Committed + int64(2*page)}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})
	b := a.Alloc(2*page-first, 8)
	smear(b)
	if c := a.Stats().Committed; c != int64(2*page) {
		t.Fatalf("%d bytes committed", c)
	}
	if _, err := a.TryAlloc(1, 1); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatal(err)
	}
	if unsafe.Add(a.base, a.top) != unsafe.Add(unsafe.Pointer(&b[0]), len(b)) {
		t.Fatal("a refused Alloc moved the arena")
	}
}
