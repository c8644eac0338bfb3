package allocbench

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/slab"
)

// loops has the inner loops of the benchmarks for one type of allocator. A loop calls the allocator's own
// methods, as a program does: through an interface each call would cost as much as an allocation's tenth,
// and nothing of the allocator could be inlined. loops_heap.go has the loops for a *slab.Heap; those of
// the other types, in loops_others.go, are copies that a test makes and compares.
//
// The loops do what gcc makes of the drivers for C allocators: no bounds checks, and no question at each
// store of an address whether the collector is marking.
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

// at returns the address of s[i], without a bounds check.
func at[T any](s []T, i uint32) *T {
	var t T
	return (*T)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), uintptr(i)*unsafe.Sizeof(t)))
}

// drawSize returns the size of an object by a random number.
func drawSize(random uint64) int { return workload.Size(workload.SizeIndex(random)) }

// stamp writes to the first and the last byte of an object that is not empty, without a bounds check.
func stamp(b []byte, first, last byte) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	*(*byte)(p) = first
	*(*byte)(unsafe.Add(p, len(b)-1)) = last
}

// write writes 8 bytes to an object that has as many, without a bounds check.
func write(b []byte, x uint64) { *(*uint64)(unsafe.Pointer(unsafe.SliceData(b))) = x }

// keep stores the address of an object off the Go heap, of which the collector need not hear.
func keep(place *allocators.Object, b []byte) {
	*(*uintptr)(unsafe.Pointer(place)) = uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

// keepTraced stores the address of an object that may be on the Go heap.
func keepTraced(place *allocators.Object, b []byte) { *place = unsafe.SliceData(b) }
