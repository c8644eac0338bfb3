package region

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// stamp writes the number of each OS page of [from, to) into it.
func stamp(r *Region, from, to int) {
	for off := from; off < to; off += PageSize() {
		r.Bytes()[off], r.Bytes()[off+PageSize()-1] = byte(off/PageSize()), 0xaa
	}
}

func stamped(t *testing.T, r *Region, from, to int) {
	t.Helper()
	for off := from; off < to; off += PageSize() {
		if r.Bytes()[off] != byte(off/PageSize()) || r.Bytes()[off+PageSize()-1] != 0xaa {
			t.Fatalf("%q: OS page %d has other contents", r.Name(), off/PageSize())
		}
	}
}

// TestMove lets memory grow by moving it, so often that the moved memory is several mappings.
func TestMove(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		before := Usage().Committed
		r := mustReserve(t, Config{Name: "moving", Size: page})
		if err := r.Commit(0, page); err != nil {
			t.Fatal(err)
		}
		stamp(r, 0, page)
		for pages := 1; pages < 64; pages *= 2 {
			to := mustReserve(t, Config{Name: "moving", Size: 2 * pages * page})
			calls := vm.Inject(vm.Mremap, 0, nil)
			if err := r.Move(to, pages*page); err != nil {
				t.Fatal(err)
			}
			if calls() == 0 {
				t.Error("the kernel was not asked to move anything")
			}
			expect(t, "where it was", touch(r, 0), Decommitted, 0)
			if r.Committed() != 0 || to.Committed() != int64(pages*page) || Usage().Committed-before != int64(pages*page) {
				t.Fatalf("%d and %d bytes are committed, in all %d", r.Committed(), to.Committed(), Usage().Committed-before)
			}
			if n, err := to.Resident(); err == nil && n != int64(pages*page) {
				t.Errorf("%d bytes are resident", n)
			}
			if err := to.Commit(pages*page, pages*page); err != nil {
				t.Fatal(err)
			}
			stamp(to, pages*page, 2*pages*page)
			stamped(t, to, 0, 2*pages*page)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = to
		}
	})
}

// TestMoveIsNotCopied checks that the kernel moves pages where it can: several mappings, too.
func TestMoveIsNotCopied(t *testing.T) {
	a, b := mustReserve(t, Config{Size: PageSize()}), mustReserve(t, Config{Size: PageSize()})
	if err := errors.Join(a.Commit(0, PageSize()), b.Commit(0, PageSize())); err != nil {
		t.Fatal(err)
	}
	if err := vm.Move(a.Base(), b.Base(), uintptr(PageSize())); err != nil {
		t.Skipf("this kernel does not move: %v", err)
	}
	page := PageSize()
	small, middle, large := mustReserve(t, Config{Size: page}), mustReserve(t, Config{Size: 2 * page}), mustReserve(t, Config{Size: 4 * page})
	for _, step := range []func() error{
		func() error { return small.Commit(0, page) },
		func() error { stamp(small, 0, page); return small.Move(middle, page) },
		func() error { return middle.Commit(page, page) },
		func() error { stamp(middle, page, 2*page); return nil },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	ends := middle.rec.ends(uintptr(2 * page))
	from := uintptr(0)
	if err := large.Commit(0, 4*page); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		if err := vm.Move(unsafe.Add(middle.Base(), from), unsafe.Add(large.Base(), from), end-from); err != nil {
			t.Errorf("the mapping at %d of %v: %v", from, ends, err)
		}
		from = end
	}
	stamped(t, large, 0, 2*page)
}

// TestMoveFails lets each system call of a move fail.
func TestMoveFails(t *testing.T) {
	page := PageSize()
	for _, kind := range []vm.Kind{vm.Mprotect, vm.Madvise, vm.Mremap} {
		for nth := 1; ; nth++ {
			before := Usage().Committed
			r, to := mustReserve(t, Config{Size: 4 * page}), mustReserve(t, Config{Size: 8 * page})
			if err := r.Commit(0, 4*page); err != nil {
				t.Fatal(err)
			}
			stamp(r, 0, 4*page)
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			err := r.Move(to, 3*page)
			calls := stop()
			if err != nil {
				if !errors.Is(err, ErrNoMemory) {
					t.Errorf("%v %d: %v", kind, nth, err)
				}
				stamped(t, r, 0, 4*page)
				if to.Committed() != 0 || r.Committed() != int64(4*page) {
					t.Errorf("%v %d: %d and %d bytes are committed", kind, nth, r.Committed(), to.Committed())
				}
				if err := r.Move(to, 3*page); err != nil {
					t.Errorf("%v %d: again: %v", kind, nth, err)
				}
			}
			stamped(t, to, 0, 3*page)
			stamped(t, r, 3*page, 4*page)
			if sum := r.Committed() + to.Committed(); Usage().Committed-before != sum {
				t.Errorf("%v %d: %d bytes are committed, the budget says %d", kind, nth, sum, Usage().Committed-before)
			}
			if err := errors.Join(r.Close(), to.Close()); err != nil {
				t.Errorf("%v %d: %v", kind, nth, err)
			}
			if calls < nth {
				break
			}
		}
	}
}

func TestMoveRefuses(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		for _, c := range []struct {
			what  string
			setup func(r, to *Region) error
			n     int
			want  string
		}{
			{"a part of an OS page", nil, page + 1, "multiples of the OS page"},
			{"more than there is", nil, 9 * page, "not inside"},
			{"what is not committed", func(r, _ *Region) error { return r.Decommit(page, page) }, 2 * page, "not all of it is committed"},
			{"what is read-only", func(r, _ *Region) error { return r.Protect(page, page, vm.Read) }, 2 * page, "not all of it is committed"},
			{"what is guarded", func(r, _ *Region) error { return r.Guard(page, page) }, 2 * page, "guarded"},
			{"onto what is committed", func(_, to *Region) error { return to.Commit(page, page) }, 2 * page, "should go"},
			{"onto guards", func(_, to *Region) error { return to.Guard(page, page) }, 2 * page, "should go"},
			{"into what is closed", func(_, to *Region) error { return to.Close() }, 2 * page, "closed"},
			{"out of what is closed", func(r, _ *Region) error { return r.Close() }, 2 * page, "closed"},
		} {
			r, to := mustReserve(t, Config{Size: 4 * page}), mustReserve(t, Config{Size: 4 * page})
			err := r.Commit(0, 4*page)
			if c.setup != nil {
				err = errors.Join(err, c.setup(r, to))
			}
			if err != nil {
				t.Fatal(c.what, err)
			}
			committed := r.Committed()
			if err := r.Move(to, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.what, err)
			}
			if r.Committed() != committed {
				t.Errorf("%s: %d bytes are committed, before %d", c.what, r.Committed(), committed)
			}
		}
		r := mustReserve(t, Config{Size: page})
		for _, to := range []*Region{nil, r} {
			if err := r.Move(to, 0); err == nil {
				t.Errorf("moved to %p", to)
			}
		}
	})
}
