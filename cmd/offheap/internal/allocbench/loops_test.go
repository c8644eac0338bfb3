package allocbench

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/workload/copies"
)

// TestLoops compares the loops for other allocators with those for a *slab.Heap.
func TestLoops(t *testing.T) {
	copies.Check(t, "loops_heap.go", "// heapLoops are", "loops_others.go",
		[]string{"heapLoops", "localLoops", "*slab.Heap", "*slab.Local"},
		[]string{"heapLoops", "zeroedLoops", "a *slab.Heap", "a *slab.Heap whose memory is zeroed", "AllocDirty", "Alloc"},
		[]string{"heapLoops", "zeroedLocalLoops", "a *slab.Heap", "a *slab.Local whose memory is zeroed", "*slab.Heap", "*slab.Local", "AllocDirty", "Alloc"},
		[]string{"heapLoops", "sourceLoops", "a *slab.Heap", "any allocator", "*slab.Heap", "allocators.Source", "Keep(", "KeepTraced("})
}
