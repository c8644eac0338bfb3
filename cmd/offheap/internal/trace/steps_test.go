package trace

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/workload/copies"
)

// TestSteps compares the loops for other allocators with the one for a *slab.Heap.
func TestSteps(t *testing.T) {
	copies.Check(t, "steps_heap.go", "// throughHeap carries", "steps_others.go",
		[]string{"throughHeap", "throughNothing", "slabHeap", "*nothing"},
		[]string{"throughHeap", "throughGo", "slabHeap", "goHeap", "Keep(", "KeepTraced("})
}
