package allocbench

import (
	"slices"
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// TestShuffled compares with the order in which the drivers for C allocators free.
func TestShuffled(t *testing.T) {
	for seed, want := range map[workload.Random][]uint32{3000: {777048, 378534, 295091}, 4000: {29918, 176933, 441867}} {
		if got := shuffled(1_000_000, seed)[:3]; !slices.Equal(got, want) {
			t.Errorf("seed %d: %v, want %v", seed, got, want)
		}
	}
}

// TestCheckValues runs short forms of the benchmarks: the check values are the same for every allocator.
func TestCheckValues(t *testing.T) {
	const n = 200_000
	var first []uint64
	for _, kind := range []allocators.Kind{allocators.Go, allocators.Heap, allocators.Local, allocators.Zero, allocators.ZeroLocal, allocators.Hardened} {
		one, err := MeasureChurn(kind, 1, ChurnLive, n)
		if err != nil {
			t.Fatal(err)
		}
		two, err := MeasureChurn(kind, 2, ChurnLive, n)
		if err != nil {
			t.Fatal(err)
		}
		way, err := MeasureHandOver(kind, false, n)
		if err != nil {
			t.Fatal(err)
		}
		both, err := MeasureHandOver(kind, true, n)
		if err != nil {
			t.Fatal(err)
		}
		turns, err := MeasureTurns(kind, n)
		if err != nil {
			t.Fatal(err)
		}
		got := []uint64{one.State, two.State, way.Sum, both.Sum, turns.Sum}
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) || one.NsOp <= 0 || way.NsPair <= 0 || turns.NsFree <= 0 {
			t.Errorf("%s: %v, want %v; %+v %+v %+v", kind, got, first, one, way, turns)
		}
	}
	if _, err := MeasureChurn("none", 1, ChurnLive, n); err == nil {
		t.Error("an allocator that there is not")
	}
}

// TestGrowth runs short forms of the churn with few and with many objects: all allocators do the
// same work, and have live objects of the mean size that is drawn.
func TestGrowth(t *testing.T) {
	var first []float64
	for _, kind := range []allocators.Kind{allocators.Go, allocators.Heap, allocators.Local, allocators.Zero, allocators.ZeroLocal} {
		var got []float64
		for _, live := range []int{1000, 50_000} {
			c, err := MeasureChurn(kind, 1, live, 20_000)
			if err != nil {
				t.Fatal(err)
			}
			if mean := c.LiveMB * 1e6 / float64(live); mean < 150 || mean > 190 {
				t.Errorf("%s: %d objects of %.1f bytes in the mean, want 170.7", kind, live, mean)
			}
			got = append(got, c.LiveMB, float64(c.State))
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("%s: %v, want %v", kind, got, first)
		}
	}
	if err := MeasureGrowth("none", func(string, int, int) {}, func(Growth) {}, func(error) {}); err == nil {
		t.Error("an allocator that there is not")
	}
}
