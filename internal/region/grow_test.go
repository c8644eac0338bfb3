package region

import (
	"errors"
	"math"
	"sync"
	"testing"
)

// TestGrow grows a region of no bytes up to its reservation: the address stays, and so does what was written.
func TestGrow(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		before := Committed()
		r := mustReserve(t, Config{Name: "grows", Reserve: 8*page - 1})
		if r.Size() != 0 || len(r.Bytes()) != 0 || r.Committed() != 0 {
			t.Fatalf("%d bytes, %d committed", r.Size(), r.Committed())
		}
		expect(t, "first byte of nothing", touch(r, 0), Overflow, 0)
		base := r.Base()
		for i := range 4 {
			b, err := r.Grow(page + 1) // two OS pages
			mustDo(t, err)
			if r.Base() != base || len(b) != (i+1)*2*page || r.Size() != len(b) || r.Committed() != int64(len(b)) || Committed()-before != int64(len(b)) {
				t.Fatalf("%d bytes, size %d, %d committed", len(b), r.Size(), r.Committed())
			}
			for j := range i {
				if b[j*2*page] != byte(j+1) {
					t.Fatal("Grow lost contents")
				}
			}
			if b[len(b)-2*page] != 0 {
				t.Fatal("new memory is not zero")
			}
			b[len(b)-2*page] = byte(i + 1)
			expect(t, "behind the end", poke(r, len(b)), Overflow, len(b))
		}
		if _, err := r.Grow(1); !errors.Is(err, ErrNoMemory) {
			t.Errorf("beyond the reservation: %v", err)
		}
		for what, n := range map[string]int{"negative": -1, "least": math.MinInt, "most": math.MaxInt, "page overflow": math.MaxInt - page/2} {
			if _, err := r.Grow(n); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if b, err := r.Grow(0); err != nil || len(b) != 8*page {
			t.Errorf("by nothing: %d bytes, %v", len(b), err)
		}
		if Committed()-before != int64(8*page) {
			t.Errorf("%d bytes are charged", Committed()-before)
		}
		mustDo(t, r.Decommit(page, page), r.Guard(0, page), r.Close())
		if Committed() != before {
			t.Errorf("%d bytes stay charged", Committed()-before)
		}
		if _, err := r.Grow(page); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestGrowBehindSize grows a region that has a size, of which nothing is committed: that stays so.
func TestGrowBehindSize(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Size: 2 * page, Reserve: 4 * page, HugePages: true})
	expect(t, "beyond", touch(r, 2*page), Overflow, 2*page)
	if err := r.Commit(page, 2*page); err == nil {
		t.Error("Commit beyond Size")
	}
	_, err := r.Grow(page)
	mustDo(t, err)
	expect(t, "not committed", touch(r, page), Decommitted, page)
	if f := poke(r, 2*page); f != nil {
		t.Error(f)
	}
	mustDo(t, r.Commit(0, 3*page))
	for _, c := range []Config{{}, {Size: -1}, {Reserve: -1}, {Size: 2 * page, Reserve: page}, {Reserve: page, MinSize: 2 * page}, {Reserve: math.MaxInt}} {
		if r, err := Reserve(c); err == nil {
			t.Errorf("%+v: no error, size %d", c, r.Size())
			r.Close()
		}
	}
}

// TestGrowBudget has the budget refuse: nothing changes, and the next call works. TestFailEveryCall has the kernel refuse.
func TestGrowBudget(t *testing.T) {
	modes(t, func(t *testing.T) {
		page := PageSize()
		r := mustReserve(t, Config{Reserve: 1 << 20, Prefault: true})
		_, err := r.Grow(page)
		mustDo(t, err)
		r.Bytes()[0] = 7
		before := Committed()
		refused := func(what string) {
			t.Helper()
			if _, err := r.Grow(page); !errors.Is(err, ErrNoMemory) {
				t.Fatalf("%s: %v", what, err)
			}
			if r.Size() != page || Committed() != before || r.Committed() != int64(page) || r.Bytes()[0] != 7 {
				t.Fatalf("%s: size %d, %d committed", what, r.Size(), Committed()-before)
			}
			expect(t, what, touch(r, page), Overflow, page)
		}
		mustSetBudget(t, Budget{Hard: before + int64(page) - 1})
		refused("budget")
		mustSetBudget(t, Budget{})
		_, err = r.Grow(page)
		mustDo(t, err)
	})
}

// TestGrowMappings grows a region many times: the kernel joins what Grow adds, and the books know it.
func TestGrowMappings(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Reserve: 5000 * page})
	_, err := r.Grow(page)
	mustDo(t, err)
	before := mappings.Load()
	for range 4999 {
		_, err := r.Grow(page)
		mustDo(t, err)
	}
	if more := mappings.Load() - before; more > 1 {
		t.Errorf("%d mappings more", more)
	}
}

// TestHammerGrow has goroutines grow one region: each call adds its bytes once.
func TestHammerGrow(t *testing.T) {
	const goroutines, times = 4, 200
	page := PageSize()
	r := mustReserve(t, Config{Reserve: goroutines * times * page})
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range times {
				if b, err := r.Grow(page); err != nil || len(b) == 0 {
					t.Error(len(b), err)
				} else {
					Locate(uintptr(r.Base()))
				}
			}
		})
	}
	all.Wait()
	if r.Size() != goroutines*times*page || r.Committed() != int64(r.Size()) {
		t.Errorf("%d bytes, %d committed", r.Size(), r.Committed())
	}
}
