package allocbench

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// HandOver has the figures of the benchmark in which one goroutine frees the objects of another.
type HandOver struct {
	NsPair float64 `json:"ns_pair"` // an allocation and its free
	PeakMB float64 `json:"peak_mb"`
	Sum    uint64  `json:"sum"` // of the first bytes of all objects
}

// HandOverObjects is the usual number of objects that are handed over.
const HandOverObjects = 10_000_000

const (
	ringSize  = 4096
	ringBatch = 16 // objects between two publications of an index
)

// ring hands objects from one goroutine to one other. Each side keeps a copy of the other's index, and
// loads the index again only when the copy says that the ring is full, or empty.
type ring struct {
	_         [128]byte
	tail      atomic.Uint64
	_         [128]byte
	head      atomic.Uint64
	_         [128]byte
	pushed    uint64 // by the pushing side, with its copy of head
	knownHead uint64
	_         [128]byte
	popped    uint64 // by the popping side, with its copy of tail
	knownTail uint64
	_         [128]byte
	items     [ringSize]allocators.Object
}

// full tells whether there is no room for another object.
func (r *ring) full() bool {
	if r.pushed-r.knownHead < ringSize {
		return false
	}
	r.knownHead = r.head.Load()
	return r.pushed-r.knownHead >= ringSize
}

// place returns where the next object goes, which push adds. The ring is not full.
func (r *ring) place() *allocators.Object { return &r.items[r.pushed%ringSize] }

// push adds the object that was put into place.
func (r *ring) push() {
	if r.pushed++; r.pushed%ringBatch == 0 {
		publish(&r.tail, r.pushed)
	}
}

// flush publishes all pushed objects.
func (r *ring) flush() { publish(&r.tail, r.pushed) }

// pop takes an object; nil if there is none.
func (r *ring) pop() allocators.Object {
	if r.popped == r.knownTail {
		if r.knownTail = r.tail.Load(); r.popped == r.knownTail {
			return nil
		}
	}
	p := r.items[r.popped%ringSize]
	if r.popped++; r.popped%ringBatch == 0 {
		publish(&r.head, r.popped)
	}
	return p
}

// idle is a goroutine that waits for another. It counts the turns of its waiting loops.
type idle struct{ turns int }

// wait takes one turn of a loop, and now and then yields, so that the other goroutine runs even on the
// same processor.
func (i *idle) wait() {
	pause()
	if i.turns++; i.turns%1024 == 0 {
		runtime.Gosched()
	}
}

// MeasureHandOver hands n objects from a goroutine that allocates to one that frees. If both, it hands
// as many each way between two goroutines that allocate and free.
func MeasureHandOver(kind allocators.Kind, both bool, n int) (c HandOver, err error) {
	source, done, err := allocators.Open(kind)
	if err != nil {
		return c, err
	}
	defer done()
	var rings [2]*ring
	for i := range rings {
		rings[i] = new(ring)
	}
	before := workload.Resident()
	var sums [2]uint64
	var wg sync.WaitGroup
	start := time.Now()
	for t := range 2 {
		wg.Go(func() {
			from := loopsFor(source())
			s := workload.Random(2000 + t)
			switch {
			case both:
				sums[t] = from.exchange(rings[t], rings[1-t], &s, n)
			case t == 0:
				from.allocateTo(rings[0], &s, n)
			default:
				sums[t] = from.freeFrom(rings[0], n)
			}
		})
	}
	wg.Wait()
	c.NsPair = float64(time.Since(start).Nanoseconds()) / float64(n)
	c.PeakMB = float64(workload.Peak()-before) / 1e6
	c.Sum = sums[0] + sums[1]
	return c, nil
}

// Turns has the figures of the benchmark in which one goroutine allocates, then another frees all.
type Turns struct {
	NsAlloc float64 `json:"ns_alloc"`
	NsFree  float64 `json:"ns_rfree"`
	PeakMB  float64 `json:"peak_mb"`
	Sum     uint64  `json:"sum"`
}

const turnObjects = 65536

// MeasureTurns lets two goroutines take turns: one allocates 65,536 objects, the other frees them
// in order. After some n objects, but at least two turns of each, it is done. The first turn of each does
// not count.
func MeasureTurns(kind allocators.Kind, n int) (ph Turns, err error) {
	source, done, err := allocators.Open(kind)
	if err != nil {
		return ph, err
	}
	defer done()
	rounds := max(n/turnObjects, 2)
	objects := allocators.Objects(turnObjects)
	before := workload.Resident()
	var turn atomic.Int64
	var took [2]time.Duration
	var wg sync.WaitGroup
	for t := range 2 {
		wg.Go(func() {
			from, s, idle := loopsFor(source()), workload.Random(2000), idle{}
			for r := range rounds {
				for turn.Load() != int64(2*r+t) {
					idle.wait()
				}
				begin := time.Now()
				if t == 0 {
					from.allocateTurn(objects, &s)
				} else {
					ph.Sum += from.freeTurn(objects)
				}
				if r > 0 {
					took[t] += time.Since(begin)
				}
				turn.Store(int64(2*r + t + 1))
			}
		})
	}
	wg.Wait()
	counted := float64((rounds - 1) * turnObjects)
	ph.NsAlloc, ph.NsFree = float64(took[0].Nanoseconds())/counted, float64(took[1].Nanoseconds())/counted
	ph.PeakMB = float64(workload.Peak()-before) / 1e6
	return ph, nil
}
