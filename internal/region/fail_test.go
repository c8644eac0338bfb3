package region

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// scenario makes every call of a region at least once and returns the errors. After an error it calls lift and makes the
// call once more, which must succeed: an injected failure happens once, and lift ends others.
func scenario(t *testing.T, lift func()) (errs []error) {
	page := PageSize()
	try := func(what string, f func() error) {
		t.Helper()
		if err := f(); err != nil {
			errs = append(errs, err)
			lift()
			if err := f(); err != nil {
				t.Errorf("%s failed again: %v", what, err)
			}
		}
	}
	var r *Region
	try("Reserve", func() (err error) {
		r, err = Reserve(Config{Name: "failing", Size: 16 * page, Reserve: 18 * page, Prefault: true, HugePages: true})
		return err
	})
	f := letters(t, 2)
	defer f.Close()
	try("MapFile", func() error { return r.MapFile(12*page, 2*page, f, 0, vm.ReadWrite) })
	r.Bytes()[12*page], r.Bytes()[13*page+1] = 1, 1
	try("Decommit of a file", func() error { return r.Decommit(13*page, page) })
	try("Commit", func() error { return r.Commit(0, 2*page) })
	try("Guard", func() error { return r.Guard(4*page, page) })
	try("Commit around", func() error { return r.Commit(0, 8*page) })
	r.Bytes()[0], r.Bytes()[7*page] = 1, 7
	try("Protect", func() error { return r.Protect(2*page, 3*page, vm.Read) })
	try("Protect back", func() error { return r.Protect(2*page, 3*page, vm.ReadWrite) })
	try("Guard committed", func() error { return r.Guard(6*page, page) })
	try("Unguard", func() error { return r.Unguard(4*page, 3*page) })
	try("Lock", func() error {
		err := r.Lock(0, page)
		if errors.Is(err, ErrNoMemory) && vm.Probe().LockedMemory < uint64(page) {
			return nil
		}
		return err
	})
	try("GuardRow", func() error { return r.GuardRow(8*page, page, 2*page, 2) })
	try("GuardRow of many", func() error {
		// Over committed memory, so that PROT_NONE guards need the kernel, too.
		if err := r.GuardRow(page, page/2, page, 1); err == nil {
			t.Error("half a page was guarded")
		}
		return r.GuardRow(2*page, page, 2*page, 1)
	})
	try("Unguard one of the row", func() error { return r.Unguard(2*page, page) })
	try("Grow", func() error {
		_, err := r.Grow(2 * page)
		return err
	})
	try("Discard", func() error { return r.Discard(5*page, page) })
	try("Decommit", func() error { return r.Decommit(page, 2*page) })
	try("Unlock", func() error { return r.Unlock(0, page) })
	try("Resident", func() error {
		_, err := r.Resident()
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return err
	})

	// Whatever failed on the way, the books and the memory say the same.
	if r.Committed() != int64(9*page) || r.Size() != 18*page {
		t.Errorf("%d pages committed, want 9", r.Committed()/int64(page))
	}
	if r.Bytes()[0] != 1 || r.Bytes()[7*page] != 7 || string(r.Bytes()[12*page:][:2]) != "\x01a" {
		t.Error("contents lost")
	}
	expect(t, "file let go", touch(r, 13*page), Decommitted, 13*page)
	expect(t, "decommitted", touch(r, page), Decommitted, page)
	expect(t, "never committed", touch(r, 9*page), Decommitted, 9*page)
	for _, off := range []int{3 * page, 4 * page, 6 * page} {
		if f := poke(r, off); f != nil {
			t.Error(f)
		}
	}
	if err := r.Close(); err != nil {
		errs = append(errs, err)
		// Either it is still open and intact, or it is closed for good.
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("Close failed again: %v", err)
		}
	}
	SetQuarantine(0) // munmap, which may fail too: then the next one gets it
	SetQuarantine(1 << 30)
	SetQuarantine(0)
	return errs
}

// TestFailEveryCall makes every system call of every kind fail once at every position: the error comes back, or a
// documented fallback serves, and nothing leaks.
func TestFailEveryCall(t *testing.T) {
	setQuarantine(t, 1<<30)
	modes(t, func(t *testing.T) {
		for kind := range vm.Kinds {
			stop := vm.Inject(kind, 0, nil)
			if errs := scenario(t, func() {}); errs != nil {
				t.Fatalf("nothing injected: %v", errs)
			}
			calls := stop()
			for nth := 1; nth <= calls; nth++ {
				SetQuarantine(1 << 30)
				before, mappings := Usage(), len(registry.records)
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				errs := scenario(t, func() {})
				stop()
				if len(errs) > 1 {
					t.Errorf("%v %d of %d: one failure gave %d errors: %v", kind, nth, calls, len(errs), errs)
				}
				for _, err := range errs {
					if !errors.Is(err, ErrNoMemory) {
						t.Errorf("%v %d of %d: the error does not wrap ErrNoMemory: %v", kind, nth, calls, err)
					}
				}
				// What Close does last may fail unnoticed, because it has another way; and advice
				// is a hint.
				unnoticed := kind == vm.Madvise || kind == vm.Munmap || (kind == vm.Munlock || kind == vm.Mmap) && nth == calls
				if len(errs) == 0 && !unnoticed {
					t.Errorf("%v %d of %d: the failure was lost", kind, nth, calls)
				}
				after := Usage()
				before.Resident, after.Resident = 0, 0
				if before != after || mappings != len(registry.records) {
					t.Errorf("%v %d of %d: before %+v, after %+v, records %d and %d", kind, nth, calls, before, after, mappings, len(registry.records))
				}
				if t.Failed() {
					t.Fatalf("at %v %d of %d: %v", kind, nth, calls, errs)
				}
			}
			t.Logf("%-8v %2d positions", kind, calls)
		}
	})
}

// TestBudgetEverywhere lets the budget end at every place of the scenario: the call returns the error, and works as soon
// as there is enough.
func TestBudgetEverywhere(t *testing.T) {
	setQuarantine(t, 1<<30)
	lift := func() { SetBudget(Budget{}) }
	defer lift()
	modes(t, func(t *testing.T) {
		for pages := 0; !t.Failed(); pages++ {
			before := Usage()
			if _, err := SetBudget(Budget{Hard: Committed() + max(int64(pages*PageSize()), 1)}); err != nil {
				t.Fatal(err)
			}
			errs := scenario(t, lift)
			lift()
			if len(errs) > 1 || len(errs) == 1 && !errors.Is(errs[0], ErrNoMemory) {
				t.Errorf("%d pages: got %v, want one error that wraps ErrNoMemory", pages, errs)
			}
			if after := Usage(); before.Regions != after.Regions || before.Committed != after.Committed || before.Reserved != after.Reserved {
				t.Errorf("%d pages: before %+v, after %+v", pages, before, after)
			}
			if len(errs) == 0 {
				if pages == 0 {
					t.Error("nothing was refused")
				}
				t.Logf("%d pages are enough", pages)
				break
			}
		}
	})
}

var heapRoom []byte // on the heap, not on a stack

// TestGuardsUpToTheMapLimit makes PROT_NONE guards up to the limit of mappings: the error names it, and removing some
// guards helps.
func TestGuardsUpToTheMapLimit(t *testing.T) {
	limit := vm.Probe().MaxMappings
	if limit == 0 || limit > 100_000 {
		t.Skipf("the map limit of %d is unknown or too high to reach", limit)
	}
	if race.Enabled {
		t.Skip("the race detector needs mappings of its own, and dies without")
	}
	had := lightGuards
	lightGuards = false
	defer func() { lightGuards = had }()
	// A collection that finds no mapping left for itself ends the program, and so does a heap that must
	// grow: what this leaves free is enough.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	heapRoom = make([]byte, 32<<20)
	heapRoom = nil
	runtime.GC()
	page := PageSize()
	n := limit/2 + 1000
	r := mustReserve(t, Config{Name: "many", Size: 2 * n * page})
	if err := r.Commit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	placed := 0
	var err error
	for ; placed < n && err == nil; placed++ {
		err = r.Guard(2*placed*page, page)
	}
	if !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), fmt.Sprintf("vm.max_map_count is %d", limit)) {
		t.Fatalf("%d guards, then: %v", placed, err)
	}
	placed--
	expect(t, "last guard", touch(r, 2*(placed-1)*page), Guarded, 2*(placed-1)*page)
	if f := poke(r, 2*placed*page); f != nil {
		t.Fatalf("the guard that failed is there: %v", f)
	}
	if err := r.Unguard(0, 100*page); err != nil {
		t.Fatal(err)
	}
	if err := r.Guard(2*placed*page, page); err != nil {
		t.Fatal(err)
	}
	// All go, and then all is as before the first.
	if err := errors.Join(r.Unguard(0, r.Size()), r.Guard(page, page), r.Decommit(0, r.Size()), r.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d guards, then: %v", placed, err)
}

// TestManyLightGuards makes more markers than the process may hold mappings: all are in one mapping.
func TestManyLightGuards(t *testing.T) {
	if !lightGuards {
		t.Skip("no guard markers here")
	}
	page := PageSize()
	const n = 100_000
	r := mustReserve(t, Config{Size: 2 * n * page})
	if err := r.Commit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := r.Guard(2*i*page, page); err != nil {
			t.Fatalf("guard %d: %v", i, err)
		}
	}
	for i := 0; i < n; i += 997 {
		expect(t, "guard", touch(r, 2*i*page+i%page), Guarded, 2*i*page+i%page)
		*(*byte)(unsafe.Add(r.Base(), (2*i+1)*page)) = 1
	}
}
