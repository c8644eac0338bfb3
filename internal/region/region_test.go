package region

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func probeNames() bool { return vm.Probe().Names }

func mustReserve(t testing.TB, c Config) *Region {
	t.Helper()
	r, err := Reserve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

var sink byte

// touch reads the byte at off and returns the fault, if any.
func touch(r *Region, off int) *Fault {
	return Catch(func() { sink = *(*byte)(unsafe.Add(r.Base(), off)) })
}

// poke writes the byte at off and returns the fault, if any.
func poke(r *Region, off int) *Fault {
	return Catch(func() { *(*byte)(unsafe.Add(r.Base(), off)) = 1 })
}

func expect(t *testing.T, what string, f *Fault, kind Kind, off int) {
	t.Helper()
	if f == nil || f.Kind != kind || f.Offset != off {
		t.Fatalf("%s: got %v, want %v at offset %d", what, f, kind, off)
	}
}

// modes runs f with guard markers, where the kernel has them, and with PROT_NONE guards.
func modes(t *testing.T, f func(t *testing.T)) {
	had := lightGuards
	defer func() { lightGuards = had }()
	if had {
		t.Run("markers", f)
	}
	lightGuards = false
	t.Run("mprotect", f)
}

func TestFaultKinds(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		r := mustReserve(t, Config{Name: "kinds", Size: 8 * page})
		expect(t, "never committed", touch(r, 0), Decommitted, 0)
		if err := r.Commit(0, 8*page); err != nil {
			t.Fatal(err)
		}
		clear(r.Bytes())
		expect(t, "below", touch(r, -1), Underflow, -1)
		expect(t, "beyond", touch(r, 8*page), Overflow, 8*page)
		expect(t, "far beyond", poke(r, 8*page+GuardSize-1), Overflow, 8*page+GuardSize-1)
		expect(t, "far below", poke(r, -GuardSize), Underflow, -GuardSize)

		if err := r.Guard(2*page, page); err != nil {
			t.Fatal(err)
		}
		expect(t, "guard", poke(r, 3*page-1), Guarded, 3*page-1)
		if touch(r, 2*page-1) != nil || touch(r, 3*page) != nil {
			t.Fatal("a guard reaches beyond its range")
		}
		if err := r.Protect(0, 4*page, vm.Read); err != nil {
			t.Fatal(err)
		}
		expect(t, "write to read-only", poke(r, page), Protected, page)
		expect(t, "guard under protect", touch(r, 2*page), Guarded, 2*page)
		if f := touch(r, page); f != nil {
			t.Fatal(f)
		}
		if err := r.Unguard(2*page, page); err != nil {
			t.Fatal(err)
		}
		expect(t, "unguarded, still read-only", poke(r, 2*page), Protected, 2*page)
		if f := touch(r, 2*page); f != nil {
			t.Fatal(f)
		}
		if err := r.Decommit(4*page, page); err != nil {
			t.Fatal(err)
		}
		expect(t, "decommitted", poke(r, 4*page), Decommitted, 4*page)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{0, 2 * page, 8*page - 1, 8 * page, -1} {
			expect(t, "closed", touch(r, off), UseAfterClose, off)
		}
	})
}

func TestContentsFollowTheBooks(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		r := mustReserve(t, Config{Size: 4 * page})
		fill := func() {
			for i := range r.Bytes() {
				r.Bytes()[i] = 0xA5
			}
		}
		zero := func(what string, off int) {
			t.Helper()
			for i, b := range r.Bytes()[off : off+page] {
				if b != 0 {
					t.Fatalf("%s: byte %d is %#x", what, off+i, b)
				}
			}
		}
		if err := r.Commit(0, 4*page); err != nil {
			t.Fatal(err)
		}
		zero("fresh", 0)
		fill()
		if err := errors.Join(r.Decommit(page, page), r.Commit(0, 4*page)); err != nil {
			t.Fatal(err)
		}
		zero("committed again", page)
		if r.Bytes()[0] != 0xA5 || r.Bytes()[2*page] != 0xA5 {
			t.Fatal("Decommit or Commit touched its neighbours")
		}
		fill()
		if err := errors.Join(r.Guard(0, page), r.Unguard(0, page)); err != nil {
			t.Fatal(err)
		}
		zero("unguarded", 0)
		if err := errors.Join(r.Protect(page, page, vm.None), r.Protect(page, page, vm.ReadWrite)); err != nil {
			t.Fatal(err)
		}
		if r.Bytes()[page] != 0xA5 {
			t.Fatal("Protect lost the contents")
		}
	})
}

func TestCharges(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		before := ledger.committed.Load()
		r := mustReserve(t, Config{Size: 8 * page})
		check := func(pages int) {
			t.Helper()
			if got := r.Committed(); got != int64(pages*page) {
				t.Fatalf("region: %d pages committed, want %d", got/int64(page), pages)
			}
			if got := ledger.committed.Load() - before; got != int64(pages*page) {
				t.Fatalf("process: %d pages committed, want %d", got/int64(page), pages)
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		do(r.Commit(2*page, 2*page))
		check(2)
		do(r.Commit(0, 8*page))
		check(8)
		do(r.Commit(0, 8*page))
		check(8)
		do(r.Guard(page, page))
		check(8)
		do(r.Decommit(page, 2*page))
		check(6)
		do(r.Decommit(0, 8*page))
		check(0)
		do(r.Commit(0, page))
		do(r.Close())
		check(0)
	})
}

func TestBadInput(t *testing.T) {
	page := PageSize()
	for _, c := range []Config{{}, {Size: -1}, {Size: math.MinInt}, {Size: math.MaxInt}, {Size: page, MinSize: -1}, {Size: page, MinSize: page + 1}} {
		if r, err := Reserve(c); err == nil {
			r.Close()
			t.Errorf("Reserve(%+v) succeeded", c)
		}
	}
	if _, err := Reserve(Config{Size: math.MaxInt}); !errors.Is(err, ErrNoMemory) {
		t.Errorf("huge size: %v", err)
	}
	r := mustReserve(t, Config{Size: 4 * page})
	ranges := [][2]int{{-page, page}, {0, -page}, {0, 5 * page}, {4 * page, page}, {1, page}, {0, page + 1}, {page, math.MaxInt &^ (page - 1)}}
	for name, op := range operations(r) {
		for _, x := range ranges {
			if err := op(x[0], x[1]); err == nil {
				t.Errorf("%s(%d, %d) succeeded", name, x[0], x[1])
			}
		}
		if err := op(4*page, 0); err != nil {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
	if err := r.Protect(0, page, vm.Read); err == nil {
		t.Error("Protect of what is not committed succeeded")
	}
	if err := r.Lock(0, page); err == nil {
		t.Error("Lock of what is not committed succeeded")
	}
	if err := r.Protect(0, 0, 9); err == nil {
		t.Error("Protect with a protection that does not exist succeeded")
	}
	if err := r.Advise(0, 0, 99); err == nil {
		t.Error("Advise with an advice that does not exist succeeded")
	}
	if r.Committed() != 0 {
		t.Errorf("refused calls committed %d bytes", r.Committed())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	for name, op := range operations(r) {
		if err := op(0, page); !errors.Is(err, ErrClosed) {
			t.Errorf("%s on a closed region: %v", name, err)
		}
	}
	if _, err := r.Resident(); !errors.Is(err, ErrClosed) {
		t.Errorf("Resident on a closed region: %v", err)
	}
}

func operations(r *Region) map[string]func(off, n int) error {
	return map[string]func(off, n int) error{
		"Commit": r.Commit, "Decommit": r.Decommit, "Guard": r.Guard, "Unguard": r.Unguard, "Lock": r.Lock, "Unlock": r.Unlock,
		"Discard":       r.Discard,
		"FirstResident": func(off, n int) error { _, err := r.FirstResident(off, n); return err },
		"Protect":       func(off, n int) error { return r.Protect(off, n, vm.Read) },
		"Advise":        func(off, n int) error { return r.Advise(off, n, vm.Random) },
	}
}

func TestSizeIsRoundedToPages(t *testing.T) {
	r := mustReserve(t, Config{Size: 1})
	if r.Size() != PageSize() || len(r.Bytes()) != PageSize() {
		t.Fatalf("size %d", r.Size())
	}
	big := mustReserve(t, Config{Size: 3 << 20})
	if uintptr(big.Base())%(2<<20) != 0 {
		t.Fatalf("base %p is not aligned to 2 MiB", big.Base())
	}
}

func TestResident(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Size: 64 * page})
	if err := r.Commit(0, 64*page); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Resident(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system does not tell what is resident")
	} else if n != 0 || err != nil {
		t.Fatalf("untouched: %d bytes resident, %v", n, err)
	}
	for i := range 10 {
		r.Bytes()[i*3*page] = 1
	}
	if n, err := r.Resident(); n != int64(10*page) || err != nil {
		t.Fatalf("ten pages touched: %d bytes resident, %v", n, err)
	}
	if !vm.Probe().Populate {
		return // the pages are touched one by one, which an emulator may hide from mincore
	}
	eager := mustReserve(t, Config{Size: 64 * page, Prefault: true})
	if err := errors.Join(eager.Guard(page, page), eager.Commit(0, 64*page)); err != nil {
		t.Fatal(err)
	}
	if n, err := eager.Resident(); n != int64(63*page) || err != nil {
		t.Fatalf("prefaulted around a guard: %d of %d bytes resident, %v", n, 63*page, err)
	}
}

func TestNameInMaps(t *testing.T) {
	if !probeNames() {
		t.Skip("this kernel does not name mappings")
	}
	r := mustReserve(t, Config{Name: "orders [eu]", Size: PageSize()})
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	if !strings.Contains(string(maps), "[anon:offheap: orders _eu_]") {
		t.Fatal("the region is not named in /proc/self/maps")
	}
	if r.Name() != "orders [eu]" {
		t.Fatal(r.Name())
	}
}

func TestLock(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Size: 4 * page})
	if err := r.Commit(0, 4*page); err != nil {
		t.Fatal(err)
	}
	if err := r.Lock(0, 2*page); err != nil {
		if errors.Is(err, ErrNoMemory) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	r.Bytes()[0] = 7
	// Locked pages refuse to be discarded: Decommit must unlock them.
	if err := errors.Join(r.Decommit(0, page), r.Commit(0, page)); err != nil {
		t.Fatal(err)
	}
	if r.Bytes()[0] != 0 {
		t.Fatal("Decommit of locked memory kept its contents")
	}
	if err := errors.Join(r.Lock(0, 4*page), r.Unlock(0, page)); err != nil {
		t.Fatal(err)
	}
	r.Bytes()[0], r.Bytes()[page] = 1, 2
	if err := r.Guard(0, 2*page); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Fatalf("guard over locked memory: %v", err)
	}
	if b := r.Bytes(); b[0] != 1 || b[page] != 2 {
		t.Fatal("a refused guard changed the contents")
	}
	if err := errors.Join(r.Guard(0, page), r.Unlock(0, 2*page), r.Guard(0, 2*page), r.Unguard(0, 2*page), r.Close()); err != nil {
		t.Fatal(err)
	}
}

func mustDo(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideDefaultReserve asks for less than is left, and gets that.
func TestOutsideDefaultReserve(t *testing.T) {
	for _, want := range []int{1, 1 << 20, 1 << 30} {
		if got, err := DefaultReserve(want); err != nil || got != want {
			t.Errorf("%d of %d bytes: %v", got, want, err)
		}
	}
}

// TestPartOfZero reserves a part of a zero Region: the panic loses nothing.
func TestPartOfZero(t *testing.T) {
	before := mappings.Load()
	defer func() {
		if recover() == nil || mappings.Load() != before {
			t.Errorf("no panic, or %d mappings where %d were", mappings.Load(), before)
		}
	}()
	Reserve(Config{Size: 1, PartOf: new(Region)})
}
