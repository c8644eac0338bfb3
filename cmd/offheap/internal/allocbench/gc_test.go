package allocbench

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// TestGC makes sure that the objects are live while the collector is timed, and that only the
// objects of kind Go are on the Go heap.
func TestGC(t *testing.T) {
	const n = 100_000
	for _, kind := range []allocators.Kind{allocators.Go, allocators.Heap, allocators.Local, allocators.Zero} {
		var rows []GC
		var onGoHeap []int
		err := measureGC(kind, n, func(string, int, int) {}, func(g GC) {
			rows = append(rows, g)
			onGoHeap = append(onGoHeap, int(measure.Metric("/gc/heap/objects:objects").Uint64()))
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 2 || rows[0].Objects != 0 || rows[1].Objects != n {
			t.Fatalf("%s: %+v", kind, rows)
		}
		for _, g := range rows {
			if g.Ms <= 0 || g.CPUMs <= 0 {
				t.Errorf("%s: %+v", kind, g)
			}
		}
		want := 0
		if kind == allocators.Go {
			want = n
		}
		if more := onGoHeap[1] - onGoHeap[0]; more < want-n/10 || more > want+n/10 {
			t.Errorf("%s: %d objects more on the Go heap, want about %d", kind, more, want)
		}
	}
	if err := measureGC("none", n, func(string, int, int) {}, func(GC) {}); err == nil {
		t.Error("an allocator that there is not")
	}
}
