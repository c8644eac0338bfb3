package allocbench

import (
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
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
	from := loopsFor(source())
	perm := shuffled(pairObjects, 3000)
	objects := allocators.Objects(pairObjects)
	timed := func(n int, what func()) float64 {
		start := time.Now()
		what()
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	f.LIFO = timed(pairRepeats, func() { from.pairs(pairRepeats) })
	alloc := func() float64 { return timed(pairObjects, func() { from.allocate64(objects) }) }
	var allocs, frees [pairRounds]float64
	for r := range pairRounds {
		allocs[r] = alloc()
		frees[r] = timed(pairObjects, func() { from.free(objects) })
	}
	f.Fresh = allocs[0]
	f.AllocInOrder, f.FreeInOrder = measure.Median(allocs[1:]), measure.Median(frees[1:])
	alloc()
	for r := range pairRounds {
		frees[r] = timed(pairObjects, func() { from.freeInOrder(objects, perm) })
		allocs[r] = alloc()
	}
	f.AllocShuffled, f.FreeShuffled = measure.Median(allocs[1:]), measure.Median(frees[1:])
	return f, nil
}
