package workload

import (
	"encoding/binary"
	"time"
	"unsafe"
)

// Fixed is what the benchmark with objects of 64 bytes measured, in nanoseconds an object.
type Fixed struct {
	Pair          float64 `json:"lifo_pair"` // an allocation and its free at once
	Fresh         float64 `json:"alloc_fresh"`
	FreeInOrder   float64 `json:"free_inorder"`
	AllocInOrder  float64 `json:"alloc_after_inorder"`
	FreeShuffled  float64 `json:"free_shuffled"`
	AllocShuffled float64 `json:"alloc_after_shuffled"`
}

const (
	fixedObjects = 1_000_000
	fixedPairs   = 50_000_000
	fixedRounds  = 6
)

// MeasureFixed allocates and frees a million objects of 64 bytes, in order and shuffled. Medians of
// the rounds behind the first.
func MeasureFixed(kind string) (f Fixed, err error) {
	source, done, err := sources(kind)
	if err != nil {
		return f, err
	}
	defer done()
	from := source()
	perm := shuffled(fixedObjects, 3000)
	objects := objectsInRAM(fixedObjects)
	timed := func(n int, what func()) float64 {
		start := time.Now()
		what()
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	f.Pair = timed(fixedPairs, func() { fixedPair(from, fixedPairs) })
	alloc := func() float64 { return timed(fixedObjects, func() { fixedAlloc(from, objects) }) }
	var allocs, frees [fixedRounds]float64
	for r := range fixedRounds {
		allocs[r] = alloc()
		frees[r] = timed(fixedObjects, func() {
			for _, p := range objects {
				from.Free(bytesAt(p, 1))
			}
		})
	}
	f.Fresh = allocs[0]
	f.AllocInOrder, f.FreeInOrder = middle(allocs[1:]), middle(frees[1:])
	alloc()
	for r := range fixedRounds {
		frees[r] = timed(fixedObjects, func() {
			for _, i := range perm {
				from.Free(bytesAt(objects[i], 1))
			}
		})
		allocs[r] = alloc()
	}
	f.AllocShuffled, f.FreeShuffled = middle(allocs[1:]), middle(frees[1:])
	return f, nil
}

func fixedPair(from Source, n int) {
	for i := range n {
		b := from.AllocDirty(64)
		binary.LittleEndian.PutUint64(b, uint64(i))
		from.Free(b)
	}
}

func fixedAlloc(from Source, objects []object) {
	for i := range objects {
		b := from.AllocDirty(64)
		binary.LittleEndian.PutUint64(b, uint64(i))
		objects[i] = unsafe.SliceData(b)
	}
}
