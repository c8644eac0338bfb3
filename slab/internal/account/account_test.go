package account

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestAccount charges to the limit and above it.
func TestAccount(t *testing.T) {
	var a Account
	a.Open("few", 100)
	for _, step := range []struct {
		more    int // bytes to charge, or to refund if negative
		refused bool
		used    int
	}{
		{60, false, 60},
		{40, false, 100},
		{1, true, 100},
		{0, false, 100},
		{math.MaxInt, true, 100},
		{-30, false, 70},
		{31, true, 70},
		{30, false, 100},
		{-100, false, 0},
		{101, true, 0},
		{100, false, 100},
	} {
		if step.more < 0 {
			a.Refund(-step.more)
		} else {
			fits := a.Fits(step.more)
			err := a.Charge(step.more)
			if (err != nil) != step.refused || (fits != nil) != step.refused {
				t.Errorf("%d bytes more: Fits %v, Charge %v", step.more, fits, err)
			}
			var refusal *LimitError
			if err != nil && (!errors.As(err, &refusal) || *refusal != LimitError{"few", step.more, step.used, 100}) {
				t.Errorf("%d bytes more: %+v", step.more, err)
			}
		}
		if got := a.Bytes(); got != step.used {
			t.Fatalf("after %d: %d bytes are used, want %d", step.more, got, step.used)
		}
	}
}

// TestNoLimit charges what no limit refuses.
func TestNoLimit(t *testing.T) {
	var a Account
	a.Open("any", 0)
	if err := errors.Join(a.Fits(math.MaxInt), a.Charge(1<<30), a.Charge(1<<20)); err != nil || a.Bytes() != 1<<30+1<<20 {
		t.Errorf("%v; %d bytes are used", err, a.Bytes())
	}
}

// TestHighWater charges memory of which some is never committed.
func TestHighWater(t *testing.T) {
	var a Account
	a.Open("any", 0)
	for _, step := range []struct {
		charge  int
		reached bool
		want    int64
	}{{10, true, 10}, {20, false, 10}, {-20, true, 10}, {-10, true, 10}, {9, true, 10}, {2, true, 11}} {
		if step.charge < 0 {
			a.Refund(-step.charge)
		} else if err := a.Charge(step.charge); err != nil {
			t.Fatal(err)
		}
		if step.reached {
			a.Reach()
		}
		if got := a.HighWater(); got != step.want {
			t.Errorf("after %+v: %d", step, got)
		}
	}
}

// TestRefusal reads the error. To make one takes a single allocation.
func TestRefusal(t *testing.T) {
	var a Account
	a.Open("few", 5)
	if err := a.Charge(3); err != nil {
		t.Fatal(err)
	}
	err := a.Charge(4)
	const want = `slab: "few": 4 bytes on top of the 3 in slabs and large objects exceed its Limit of 5: no memory`
	if err == nil || err.Error() != want || !errors.Is(err, guard.ErrNoMemory) {
		t.Errorf("%v\nwant %s", err, want)
	}
	if n := testing.AllocsPerRun(100, func() { _ = a.Charge(4) }); n > 1 {
		t.Errorf("a refusal makes %v allocations", n)
	}
}

// TestHammerAccount has goroutines charge and refund: the limit holds, and nothing is left.
func TestHammerAccount(t *testing.T) {
	const limit, part = 1000, 300
	var a Account
	a.Open("few", limit)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if a.Charge(part) == nil {
					a.Reach()
					if n := a.Bytes(); n < part || n > limit {
						t.Errorf("%d bytes are used", n)
					}
					a.Refund(part)
				}
			}
		})
	}
	all.Wait()
	if n, peak := a.Bytes(), a.HighWater(); n != 0 || peak < part || peak > limit {
		t.Errorf("%d bytes are left, the high-water mark is %d", n, peak)
	}
}
