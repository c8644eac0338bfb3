package region

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// TestGuardsAgainstSpans compares the set of guards with a plain set of spans, after random changes.
func TestGuardsAgainstSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const end = 200
	for range 300 {
		var g guards
		var model spans
		next := uintptr(r.IntN(40))
		stride := 2 + uintptr(r.IntN(6))
		n := 1 + uintptr(r.IntN(int(stride)-1))
		for range 12 {
			switch lo := uintptr(r.IntN(end - 1)); r.IntN(4) {
			case 0:
				hi := lo + 1 + uintptr(r.IntN(int(end-lo)))
				g.set(lo, hi)
				model = model.set(span{off: lo, end: hi})
			case 1:
				hi := lo + 1 + uintptr(r.IntN(int(end-lo)))
				g.remove(lo, hi)
				model = model.remove(lo, hi)
			default: // rows, which mostly continue the last
				if r.IntN(4) == 0 {
					next = lo
				}
				more := row{next, n, stride, 1 + uintptr(r.IntN(5))}
				g.addRow(more)
				for i := range more.count {
					model = model.set(span{off: more.off + i*stride, end: more.off + i*stride + n})
				}
				next += more.count * stride
			}
			for off := range uintptr(end + 100) {
				_, want := model.at(off)
				if g.at(off) != want {
					t.Fatalf("at %d: guarded is %v, want %v", off, g.at(off), want)
				}
			}
			lo := uintptr(r.IntN(end))
			hi := lo + uintptr(r.IntN(100))
			got, want := g.outside(lo, hi), model.outside(lo, hi)
			if len(got) != len(want) {
				t.Fatalf("outside %d to %d: %v, want %v", lo, hi, got, want)
			}
			for i := range got {
				if got[i].off != want[i].off || got[i].end != want[i].end {
					t.Fatalf("outside %d to %d: %v, want %v", lo, hi, got, want)
				}
			}
			if empty := len(g.single) == 0 && g.row.count == 0; empty != (len(model) == 0) {
				t.Fatalf("empty is %v with %v", empty, model)
			}
		}
	}
}

func TestGuardRow(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		const stacks, pages = 40, 5
		r := mustReserve(t, Config{Name: "row", Size: stacks * pages * page})
		for done := 0; done < stacks; done += 8 {
			// The guards first: then nothing is ever committed that has none.
			if err := r.GuardRow(done*pages*page, page, pages*page, 8); err != nil {
				t.Fatal(err)
			}
			if err := r.Commit(done*pages*page, 8*pages*page); err != nil {
				t.Fatal(err)
			}
		}
		for p := range stacks * pages {
			if f := poke(r, p*page); p%pages == 0 {
				expect(t, "guard", f, Guarded, p*page)
			} else if f != nil {
				t.Fatalf("page %d: %v", p, f)
			}
		}
		if len(r.rec.guards.single) != 0 || r.rec.guards.row.count != stacks {
			t.Errorf("the books took %d single guards and a row of %d", len(r.rec.guards.single), r.rec.guards.row.count)
		}
		if err := r.Decommit(0, r.Size()); err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(0, r.Size()); err != nil {
			t.Fatal(err)
		}
		expect(t, "after recommitting", touch(r, pages*page), Guarded, pages*page)

		// One of the row may go.
		if err := r.Unguard(2*pages*page, page); err != nil {
			t.Fatal(err)
		}
		if f := poke(r, 2*pages*page); f != nil {
			t.Error(f)
		}
		expect(t, "its neighbour", touch(r, 3*pages*page), Guarded, 3*pages*page)
	})
}

func TestGuardRowRefuses(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Name: "row", Size: 16 * page})
	for _, c := range []struct{ off, n, stride, count int }{
		{0, 0, page, 1}, {0, page, page, 2}, {0, 2 * page, page, 2}, {0, page, 2 * page, 0}, {0, page, 2 * page, -1}, {0, -page, page, 1},
		{0, page, 2 * page, 9}, {page, page, 3 * page, 6}, {-page, page, 2 * page, 1}, {page / 2, page, 2 * page, 1}, {0, page, 2*page + 1, 2}, {0, page - 1, 2 * page, 2},
		{0, page, math.MaxInt / 2, 2}, {0, page, 2 * page, math.MaxInt / 2}, {math.MaxInt / 2, page, 2 * page, 2},
	} {
		if err := r.GuardRow(c.off, c.n, c.stride, c.count); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if err := r.GuardRow(0, page, 2*page, 8); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.GuardRow(0, page, 2*page, 8); !errors.Is(err, ErrClosed) {
		t.Errorf("on a closed region: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		r := mustReserve(t, Config{Name: "discard", Size: 8 * page})
		if err := errors.Join(r.Commit(0, 8*page), r.Guard(3*page, page)); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int{0, 1, 2, 4, 5, 6, 7} {
			poke(r, p*page)
		}
		if first, err := r.FirstResident(0, 8*page); err == nil && first != 0 {
			t.Errorf("the first page in RAM is at %d", first)
		}
		if err := r.Discard(0, 5*page); err != nil {
			t.Fatal(err)
		}
		for p, want := range []byte{0, 0, 0, 99, 0, 1, 1, 1} {
			if want == 99 {
				expect(t, "guard", touch(r, p*page), Guarded, p*page)
			} else if got := r.Bytes()[p*page]; got != want {
				t.Errorf("page %d reads %d, want %d", p, got, want)
			}
		}
		if r.Committed() != int64(8*page) {
			t.Errorf("%d bytes committed", r.Committed())
		}
		if err := r.Discard(0, 8*page); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Resident(); err == nil && n != 0 {
			t.Errorf("%d bytes are still in RAM", n)
		}
		switch first, err := r.FirstResident(4*page, 4*page); {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil || first != 8*page:
			t.Errorf("first in RAM at %d, %v", first, err)
		}
		poke(r, 5*page)
		if first, err := r.FirstResident(4*page, 4*page); err == nil && first != 5*page {
			t.Errorf("first in RAM at %d", first)
		}
		if err := r.Protect(0, page, vm.Read); err != nil {
			t.Fatal(err)
		}
		if r.Discard(0, 2*page) == nil {
			t.Error("protected memory was discarded")
		}
		if err := r.Decommit(7*page, page); err != nil {
			t.Fatal(err)
		}
		if r.Discard(6*page, 2*page) == nil {
			t.Error("decommitted memory was discarded")
		}
	})
}

func TestLocate(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Name: "here", Size: 2 * page})
	if f := Locate(uintptr(r.Base()) + 7); f == nil || f.Region != "here" || f.Offset != 7 || f.Kind != Decommitted {
		t.Errorf("got %v", f)
	}
	var local int
	if f := Locate(uintptr(unsafe.Pointer(&local))); f != nil {
		t.Errorf("a Go variable is in %v", f)
	}
}
