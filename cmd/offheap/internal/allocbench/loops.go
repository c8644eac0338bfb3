package allocbench

import (
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/slab"
)

// loops has the inner loops of the benchmarks for one type of allocator. A loop calls the allocator's own
// methods, as a program does: through an interface nothing of the allocator could be inlined. The loops for
// a *slab.Heap are in loops_heap.go; those of the other types, in loops_others.go, are copies of them: see
// package copies.
type loops interface {
	// replace frees one of w's objects at random and allocates another, ops times.
	replace(w *churner, ops int)

	// pairs allocates an object of 64 bytes, writes 8 bytes and frees it, n times.
	pairs(n int)

	// allocate64 fills objects with objects of 64 bytes, and writes 8 bytes to each.
	allocate64(objects []allocators.Object)

	// free frees all objects, in order.
	free(objects []allocators.Object)

	// freeInOrder frees objects[order[0]], objects[order[1]], and so on.
	freeInOrder(objects []allocators.Object, order []uint32)

	// allocateTurn fills objects with objects of drawn sizes.
	allocateTurn(objects []allocators.Object, s *workload.Random)

	// freeTurn frees all objects, and returns the sum of their first bytes.
	freeTurn(objects []allocators.Object) (sum uint64)

	// allocateTo allocates n objects and pushes them.
	allocateTo(out *ring, s *workload.Random, n int)

	// freeFrom pops n objects and frees them. It returns the sum of their first bytes.
	freeFrom(in *ring, n int) (sum uint64)

	// exchange does both: it pushes n objects, and pops and frees as many of another goroutine.
	exchange(out, in *ring, s *workload.Random, n int) (sum uint64)

	// run carries out the events of a plan.
	run(r *fleetRun, events []fleetEvent)
}

// loopsFor returns the loops for the type of an allocator.
func loopsFor(from allocators.Source) loops {
	switch from := from.(type) {
	case *slab.Heap:
		return heapLoops{from}
	case *slab.Local:
		return localLoops{from}
	case allocators.Zeroed:
		return zeroedLoops{from.Heap}
	case allocators.ZeroedLocal:
		return zeroedLocalLoops{from.Local}
	}
	return sourceLoops{from}
}

// drawSize returns the size of an object by a random number.
func drawSize(random uint64) int { return workload.Size(workload.SizeIndex(random)) }
