package region

import (
	"errors"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// budget sets a budget until the end of the test.
func budget(t *testing.T, b Budget) {
	t.Helper()
	if _, err := SetBudget(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := SetBudget(Budget{}); err != nil {
			t.Error(err)
		}
	})
}

func TestHardBudget(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Name: "hard", Size: 16 * page})
	base := ledger.committed.Load()
	budget(t, Budget{Hard: base + int64(4*page)})
	if err := r.Commit(0, 3*page); err != nil {
		t.Fatal(err)
	}
	err := r.Commit(0, 5*page)
	if !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), "hard budget") {
		t.Fatalf("two pages over: %v", err)
	}
	if r.Committed() != int64(3*page) || touch(r, 3*page) == nil {
		t.Fatal("a refused Commit changed something")
	}
	if err := r.Commit(0, 4*page); err != nil {
		t.Fatalf("exactly the budget: %v", err)
	}
	if err := errors.Join(r.Decommit(0, page), r.Commit(4*page, page)); err != nil {
		t.Fatalf("after giving a page back: %v", err)
	}
}

func TestSoftBudget(t *testing.T) {
	// So many bytes that a few of them are more than the sixteenth of Soft, which grows with what the
	// process holds.
	step := int(alignUp(uintptr(Committed()/32)+1, uintptr(PageSize())))
	r := mustReserve(t, Config{Size: 64 * step})
	spare := mustReserve(t, Config{Size: 8 * step})
	if err := spare.Commit(0, 8*step); err != nil {
		t.Fatal(err)
	}
	base := Committed()
	var calls []int64
	b := Budget{Soft: base + int64(32*step), Hard: base + int64(48*step), OnSoft: func(n int64) { calls = append(calls, n-base) }}
	budget(t, b)
	do := func(err error, want int) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) != want {
			t.Fatalf("OnSoft was called %d times (%v), want %d", len(calls), calls, want)
		}
	}
	do(r.Commit(0, 31*step), 0)
	do(r.Commit(31*step, step), 1)
	do(r.Commit(32*step, 4*step), 1) // still above: not again
	do(r.Decommit(34*step, 2*step), 1)
	do(r.Commit(34*step, 2*step), 1) // did not fall far enough
	do(r.Decommit(0, 36*step), 1)
	do(r.Commit(0, 32*step), 2)
	if calls[0] != int64(32*step) {
		t.Fatalf("OnSoft was told %d steps", calls[0]/int64(step))
	}

	// At the hard limit the callback gets its chance, may use regions (this one too), and is not
	// called by what it does itself.
	b.OnSoft = func(int64) {
		calls = append(calls, 0)
		if err := errors.Join(spare.Decommit(0, 8*step), r.Commit(32*step, step), r.Decommit(32*step, step)); err != nil {
			t.Error(err)
		}
	}
	if _, err := SetBudget(b); err != nil {
		t.Fatal(err)
	}
	do(r.Commit(0, 50*step), 4) // at the hard limit; and, as it made room, when Soft was crossed again
	if err := r.Commit(50*step, 10*step); !errors.Is(err, ErrNoMemory) || len(calls) != 5 {
		t.Fatalf("nothing left to give back: %v after %d calls", err, len(calls))
	}
}

func TestBadBudgets(t *testing.T) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Skip("this process has a Go memory limit")
	}
	f := func(int64) {}
	for _, b := range []Budget{{Soft: -1, OnSoft: f}, {Hard: -1}, {Soft: 2, Hard: 1, OnSoft: f}, {Soft: 1}, {ShareGoLimit: true}} {
		if _, err := SetBudget(b); err == nil {
			SetBudget(Budget{})
			t.Errorf("SetBudget(%+v) succeeded", b)
		}
	}
}

func TestShareGoLimit(t *testing.T) {
	const total = 1 << 30
	old := debug.SetMemoryLimit(total)
	defer debug.SetMemoryLimit(old)
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	r := mustReserve(t, Config{Size: 1536 << 20})
	budget(t, Budget{ShareGoLimit: true})
	near := func(what string, want int64) {
		t.Helper()
		want = max(want-(ledger.committed.Load()-r.Committed()), total/16)
		if diff := limit() - want; max(diff, -diff) > total/64 {
			t.Fatalf("%s: Go's limit is %d, want about %d", what, limit(), want)
		}
	}
	near("at first", total)
	for n := 64 << 20; n <= 512<<20; n += 64 << 20 {
		if err := r.Commit(0, n); err != nil {
			t.Fatal(err)
		}
		near("growing", int64(total-n))
	}
	if err := r.Commit(0, 1536<<20); err != nil {
		t.Fatal(err)
	}
	near("more than all", 0)
	if err := r.Decommit(256<<20, 1280<<20); err != nil {
		t.Fatal(err)
	}
	near("shrinking", total-256<<20)
	if _, err := SetBudget(Budget{ShareGoLimit: true}); err != nil { // again: the total stays the total
		t.Fatal(err)
	}
	near("set twice", total-256<<20)
	if _, err := SetBudget(Budget{}); err != nil {
		t.Fatal(err)
	}
	if limit() != total {
		t.Fatalf("Go's limit is %d after sharing ended, was %d", limit(), total)
	}
	if err := r.Commit(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	if limit() != total {
		t.Fatal("Go's limit moves although it is not shared any more")
	}
}

// TestHammerBudget makes many goroutines commit and decommit under a hard limit: the total never exceeds it, and comes back
// to where it was.
func TestHammerBudget(t *testing.T) {
	page := PageSize()
	base := ledger.committed.Load()
	hard := base + int64(20*page)
	budget(t, Budget{Soft: base + int64(10*page), Hard: hard, OnSoft: func(int64) {}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r, err := Reserve(Config{Size: 8 * page})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 400 {
				off := (i*7 + g) % 6 * page
				if err := r.Commit(off, 2*page); err != nil && !errors.Is(err, ErrNoMemory) {
					t.Error(err)
				}
				if n := ledger.committed.Load(); n > hard {
					t.Errorf("%d bytes committed, limit %d", n, hard)
				}
				if i%3 == 0 {
					if err := r.Decommit(0, 8*page); err != nil {
						t.Error(err)
					}
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ledger.committed.Load(); n != base {
		t.Fatalf("%d bytes stay committed", n-base)
	}
}

// mustSetBudget replaces the budget.
func mustSetBudget(t testing.TB, b Budget) {
	t.Helper()
	if _, err := SetBudget(b); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideGoLimitChanges sets the Go memory limit while it is shared. It becomes the new total at the next change of the
// budget, and stays when sharing ends.
func TestOutsideGoLimitChanges(t *testing.T) {
	const mib = 1 << 20
	page := PageSize()
	r := mustReserve(t, Config{Size: 512 * mib})
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	inForce := func() int64 { return debug.SetMemoryLimit(-1) }
	expectNear := func(after string, want int64) {
		t.Helper()
		if got := inForce(); max(got-want, want-got) > want/32 {
			t.Errorf("after %s the limit is %d MiB, want %d", after, got/mib, want/mib)
		}
	}
	budget(t, Budget{ShareGoLimit: true})
	total := int64(4096 * mib)
	for name, change := range map[string]func() error{
		"Commit":    func() error { return r.Commit(256*mib, page) },
		"Decommit":  func() error { return r.Decommit(256*mib, page) },
		"SetBudget": func() error { _, err := SetBudget(Budget{ShareGoLimit: true}); return err },
		"Usage":     func() error { Usage(); return nil },
		"Close": func() error {
			other := mustReserve(t, Config{Size: 1})
			return other.Close()
		},
	} {
		if err := errors.Join(r.Commit(0, 256*mib), r.Decommit(256*mib, page)); err != nil {
			t.Fatal(err)
		}
		total += 1024 * mib
		debug.SetMemoryLimit(total)
		if err := change(); err != nil {
			t.Fatal(err)
		}
		expectNear(name, total-Committed())
	}
	if err := r.Decommit(0, 256*mib); err != nil {
		t.Fatal(err)
	}
	expectNear("Decommit", total-Committed())
	if _, err := SetBudget(Budget{}); err != nil || inForce() != total {
		t.Errorf("%v: the limit is %d, want the last that the program set, %d", err, inForce(), total)
	}
	// A limit that was set just before sharing ends is the program's, too.
	if _, err := SetBudget(Budget{ShareGoLimit: true}); err != nil {
		t.Fatal(err)
	}
	debug.SetMemoryLimit(3 * total)
	if _, err := SetBudget(Budget{}); err != nil || inForce() != 3*total {
		t.Errorf("%v: the limit is %d, want %d", err, inForce(), 3*total)
	}
	// No limit any more is one that never moves.
	if _, err := SetBudget(Budget{ShareGoLimit: true}); err != nil {
		t.Fatal(err)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if err := r.Commit(0, 256*mib); err != nil || inForce() != math.MaxInt64 {
		t.Errorf("%v: the limit is %d, want none", err, inForce())
	}
}

// TestOutsideOnSoftIsDeferred commits as an allocator does that holds a lock: OnSoft waits for Reclaim.
func TestOutsideOnSoftIsDeferred(t *testing.T) {
	page := PageSize()
	spare, r := mustReserve(t, Config{Size: 64 * page}), mustReserve(t, Config{Size: 64 * page, DeferOnSoft: true})
	if err := spare.Commit(0, 64*page); err != nil {
		t.Fatal(err)
	}
	calls := 0
	base := Committed()
	release := func(int64) {
		calls++
		if err := spare.Decommit(0, 32*page); err != nil {
			t.Error(err)
		}
	}
	budget(t, Budget{Soft: base + int64(4*page), OnSoft: release})
	if Reclaim() {
		t.Error("OnSoft is called though nothing is due")
	}
	if err := r.Commit(0, 6*page); err != nil || calls != 0 {
		t.Fatalf("over the soft limit: %v, %d calls", err, calls)
	}
	if !Reclaim() || calls != 1 || Reclaim() {
		t.Fatalf("%d calls of OnSoft, want one", calls)
	}
	mustSetBudget(t, Budget{})
	mustDo(t, spare.Commit(0, 32*page))
	mustSetBudget(t, Budget{Hard: Committed() + int64(2*page), OnSoft: release})
	calls = 0
	if err := r.Commit(6*page, 4*page); !errors.Is(err, ErrNoMemory) || calls != 0 {
		t.Fatalf("over the hard limit: %v, %d calls", err, calls)
	}
	if !Reclaim() || calls != 1 {
		t.Fatalf("%d calls of OnSoft, want one", calls)
	}
	if err := r.Commit(6*page, 4*page); err != nil {
		t.Fatal(err)
	}
	r.Decommit(0, 10*page)
}
