package service

import (
	"math"
	"slices"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// TestBuckets goes through the bounds of all buckets: they follow one another, and are at most 1.6 % wide.
func TestBuckets(t *testing.T) {
	var h histogram
	last := int64(-1)
	for b := range h.counts {
		top := ceiling(b)
		if bucket(last+1) != b || bucket(top) != b {
			t.Fatalf("bucket %d has %d to %d, which fall into %d and %d", b, last+1, top, bucket(last+1), bucket(top))
		}
		if width := float64(top - last); b >= 2<<subBits && width > .016*float64(top) {
			t.Fatalf("bucket %d, up to %d, is %v wide", b, top, width)
		}
		last = top
	}
	if last != math.MaxInt64 {
		t.Errorf("the last bucket ends at %d", last)
	}
	if bucket(-5) != 0 {
		t.Errorf("a clock that goes back counts in bucket %d", bucket(-5))
	}
}

// TestPercentiles compares with the sorted durations.
func TestPercentiles(t *testing.T) {
	r := workload.Random(1)
	var a, b histogram
	if a.percentile(.99) != 0 {
		t.Error("an empty histogram has a percentile")
	}
	var all []int64
	for i := range 100_000 {
		ns := int64(r.Next() >> (20 + r.Next()%40))
		all = append(all, ns)
		if i%3 == 0 {
			a.add(ns)
		} else {
			b.add(ns)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, p := range []float64{0, .001, .5, .99, .999, .9999, 1} {
		exact := all[max(0, int(math.Ceil(p*float64(len(all))))-1)]
		if got := a.percentile(p); got < exact || float64(got) > 1.016*float64(exact) {
			t.Errorf("percentile %v is %d, want %d", p, got, exact)
		}
	}
	if got, want := a.latencies(), all[len(all)-1]; got.Max != want || a.percentile(1) != want {
		t.Errorf("the maximum of %+v is not %d", got, want)
	}
}
