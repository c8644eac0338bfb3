package allocbench

import (
	"sync"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Churn has the figures of the churn benchmark.
type Churn struct {
	NsOp      float64 `json:"ns_op"`      // a free and an allocation, on the slowest goroutine
	PeakRatio float64 `json:"peak_ratio"` // peak RSS over live bytes
	LiveMB    float64 `json:"live_mb"`    // at the end, in millions of bytes
	PeakMB    float64 `json:"peak_mb"`
	State     uint64  `json:"state,string"` // of the first goroutine's generator at the end
}

const (
	ChurnLive = 100_000    // objects of each goroutine
	ChurnOps  = 50_000_000 // steps of each goroutine
)

// MeasureChurn replaces one of a number of live objects at random, ops times, on each goroutine. Every
// goroutine has objects of its own.
func MeasureChurn(kind allocators.Kind, goroutines, objects, ops int) (c Churn, err error) {
	source, done, err := allocators.Open(kind)
	if err != nil {
		return c, err
	}
	defer done()
	workers := make([]churner, goroutines)
	for i := range workers {
		workers[i] = churner{slots: allocators.Objects(objects), sizes: make([]uint8, objects), state: workload.Random(1000 + i)}
		clear(workers[i].sizes)
	}
	before := workload.Resident()
	var ready, all sync.WaitGroup
	start := make(chan struct{})
	ready.Add(goroutines)
	for i := range workers {
		all.Go(func() {
			w := &workers[i]
			w.from = source()
			w.fill()
			ready.Done()
			<-start
			inner := loopsFor(w.from)
			begin := time.Now()
			inner.replace(w, ops)
			w.took = time.Since(begin)
		})
	}
	ready.Wait()
	close(start)
	all.Wait()
	peak := workload.Peak() - before
	live := 0
	for _, w := range workers {
		c.NsOp = max(c.NsOp, float64(w.took.Nanoseconds())/float64(ops))
		for _, k := range w.sizes {
			live += workload.Size(k)
		}
	}
	c.LiveMB, c.PeakMB = float64(live)/1e6, float64(peak)/1e6
	c.PeakRatio = float64(peak) / float64(live)
	c.State = uint64(workers[0].state)
	return c, nil
}

// churner has the objects of one goroutine.
type churner struct {
	from  allocators.Source
	slots []allocators.Object
	sizes []uint8 // workload.SizeIndex of each
	state workload.Random
	drawn uint64 // last
	took  time.Duration
	_     [128]byte // no cache line is shared with the next goroutine
}

func (w *churner) fill() {
	for i := range w.slots {
		k := workload.SizeIndex(w.state.Next())
		b := w.from.AllocDirty(workload.Size(k), allocators.Align)
		b[0], b[len(b)-1] = 1, 1
		w.slots[i], w.sizes[i] = unsafe.SliceData(b), k
	}
}
