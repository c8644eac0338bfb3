package allocbench

import (
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/slab"
)

// Pair has the figures of the benchmark with objects of 64 bytes, in nanoseconds for each object.
type Pair struct {
	LIFO          float64 `json:"lifo_pair"` // an allocation and its free, at once
	Fresh         float64 `json:"alloc_fresh"`
	FreeInOrder   float64 `json:"free_inorder"`
	AllocInOrder  float64 `json:"alloc_after_inorder"`
	FreeShuffled  float64 `json:"free_shuffled"`
	AllocShuffled float64 `json:"alloc_after_shuffled"`
}

const (
	pairObjects = 1_000_000
	pairRepeats = 50_000_000
	pairRounds  = 6
)

// MeasurePair allocates an object of 64 bytes and frees it at once, 50 million times. Then it allocates a
// million of them and frees them in order, in six rounds, and in six more it frees them shuffled. Fresh
// is the first round; the other figures are medians of the rounds after the first.
func MeasurePair(kind allocators.Kind) (f Pair, err error) {
	source, done, err := allocators.Open(kind)
	if err != nil {
		return f, err
	}
	defer done()
	from := source()
	perm := shuffled(pairObjects, 3000)
	objects := allocators.Objects(pairObjects)
	timed := func(n int, what func()) float64 {
		start := time.Now()
		what()
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	f.LIFO = timed(pairRepeats, func() { allocateAndFreeAtOnce(from, pairRepeats) })
	alloc := func() float64 { return timed(pairObjects, func() { allocate64(from, objects) }) }
	var allocs, frees [pairRounds]float64
	for r := range pairRounds {
		allocs[r] = alloc()
		frees[r] = timed(pairObjects, func() {
			for _, p := range objects {
				from.Free(allocators.Bytes(p, 1))
			}
		})
	}
	f.Fresh = allocs[0]
	f.AllocInOrder, f.FreeInOrder = measure.Median(allocs[1:]), measure.Median(frees[1:])
	alloc()
	for r := range pairRounds {
		frees[r] = timed(pairObjects, func() {
			for _, i := range perm {
				from.Free(allocators.Bytes(objects[i], 1))
			}
		})
		allocs[r] = alloc()
	}
	f.AllocShuffled, f.FreeShuffled = measure.Median(allocs[1:]), measure.Median(frees[1:])
	return f, nil
}

// allocateAndFreeAtOnce allocates an object, writes 8 bytes and frees it, n times.
func allocateAndFreeAtOnce(from allocators.Source, n int) {
	for i := range n {
		var b []byte
		switch from := from.(type) { // see package allocators
		case *slab.Heap:
			b = from.AllocDirty(64, allocators.Align)
		case *slab.Local:
			b = from.AllocDirty(64, allocators.Align)
		default:
			b = from.AllocDirty(64, allocators.Align)
		}
		binary.LittleEndian.PutUint64(b, uint64(i))
		from.Free(b)
	}
}

// allocate64 fills objects, and writes 8 bytes to each.
func allocate64(from allocators.Source, objects []allocators.Object) {
	for i := range objects {
		var b []byte
		switch from := from.(type) { // see package allocators
		case *slab.Heap:
			b = from.AllocDirty(64, allocators.Align)
		case *slab.Local:
			b = from.AllocDirty(64, allocators.Align)
		default:
			b = from.AllocDirty(64, allocators.Align)
		}
		binary.LittleEndian.PutUint64(b, uint64(i))
		objects[i] = unsafe.SliceData(b)
	}
}
