package region

import (
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestOutsideGoLimitChanges sets Go's memory limit while it is shared: it becomes the new total, at the
// next change of the budget, and is what is left when sharing ends.
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

// TestOutsideDefaultReserve takes no more than what is asked for, whatever is left.
func TestOutsideDefaultReserve(t *testing.T) {
	for _, want := range []int{1, 1 << 20, 1 << 30} {
		if got, err := DefaultReserve(want); err != nil || got != want {
			t.Errorf("%d of %d bytes: %v", got, want, err)
		}
	}
}

// TestOutsideLeakedGoexit ends the goroutine that a leak is reported on: later ones are reported.
func TestOutsideLeakedGoexit(t *testing.T) {
	var told atomic.Int32
	SetOnLeak(func(in Info) {
		if in.Name == "leaked by a test" {
			told.Add(1)
			runtime.Goexit()
		}
	})
	defer SetOnLeak(nil)
	const n = 20
	for range n {
		r, err := Reserve(Config{Name: "leaked by a test", Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		_ = r
	}
	for deadline := time.Now().Add(20 * time.Second); told.Load() < n-1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC() // the last may be in a register yet
	}
	if got := told.Load(); got < n-1 {
		t.Errorf("%d of %d leaks were reported", got, n)
	}
	closeLeaked(t)
}

// closeLeaked releases the regions that are leaked, so that other tests find none.
func closeLeaked(t *testing.T) {
	t.Helper()
	registry.mu.RLock()
	leaked := slices.DeleteFunc(slices.Clone(registry.records), func(r *record) bool { return r.name != "leaked by a test" })
	registry.mu.RUnlock()
	for _, rec := range leaked {
		unregister(rec)
	}
	release(leaked)
}

// TestPartOfZero names a zero Region as the one that another is part of: nothing is lost by the panic.
func TestPartOfZero(t *testing.T) {
	before := mappings.Load()
	defer func() {
		if recover() == nil || mappings.Load() != before {
			t.Errorf("no panic, or %d mappings where %d were", mappings.Load(), before)
		}
	}()
	Reserve(Config{Size: 1, PartOf: new(Region)})
}
