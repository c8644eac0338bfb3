package workload

import (
	"sync"
	"time"
	"unsafe"
)

// Churn is what the churn benchmark measured.
type Churn struct {
	NsOp      float64 `json:"ns_op"`      // a free and an allocation
	PeakRatio float64 `json:"peak_ratio"` // peak RSS over live bytes
	LiveMB    float64 `json:"live_mb"`    // at the end, in millions of bytes
	PeakMB    float64 `json:"peak_mb"`
	State     uint64  `json:"state,string"` // of the first goroutine's generator at the end
}

const (
	churnLive = 100_000
	churnOps  = 50_000_000
)

// MeasureChurn replaces one of 100,000 objects at random, 50 million times, on each goroutine.
func MeasureChurn(kind string, goroutines int) (c Churn, err error) {
	return measureChurn(kind, goroutines, churnOps)
}

func measureChurn(kind string, goroutines, ops int) (c Churn, err error) {
	source, done, err := sources(kind)
	if err != nil {
		return c, err
	}
	defer done()
	type worker struct {
		slots []object
		kinds []uint8
		state splitmix
		took  time.Duration
	}
	workers := make([]worker, goroutines)
	for i := range workers {
		w := &workers[i]
		*w = worker{slots: objectsInRAM(churnLive), kinds: make([]uint8, churnLive), state: splitmix(1000 + i)}
		clear(w.kinds)
	}
	before := status("VmRSS:")
	var ready, all sync.WaitGroup
	start := make(chan struct{})
	ready.Add(goroutines)
	for i := range workers {
		all.Go(func() {
			w := &workers[i]
			from := source()
			fillChurn(from, w.slots, w.kinds, &w.state)
			ready.Done()
			<-start
			begin := time.Now()
			runChurn(from, w.slots, w.kinds, &w.state, ops)
			w.took = time.Since(begin)
		})
	}
	ready.Wait()
	close(start)
	all.Wait()
	peak := peakRSS() - before
	live := 0
	for _, w := range workers {
		c.NsOp = max(c.NsOp, float64(w.took.Nanoseconds())/float64(ops))
		for _, k := range w.kinds {
			live += sizeOf[k]
		}
	}
	c.LiveMB, c.PeakMB = float64(live)/1e6, float64(peak)/1e6
	c.PeakRatio = float64(peak) / float64(live)
	c.State = uint64(workers[0].state)
	return c, nil
}

func fillChurn(from Source, slots []object, kinds []uint8, state *splitmix) {
	for i := range slots {
		k := drawKind(state.next())
		b := from.AllocDirty(sizeOf[k])
		b[0], b[len(b)-1] = 1, 1
		slots[i], kinds[i] = unsafe.SliceData(b), k
	}
}

func runChurn(from Source, slots []object, kinds []uint8, state *splitmix, ops int) {
	n := uint32(len(slots))
	kinds = kinds[:len(slots)]
	s := *state
	for range ops {
		r := s.next()
		i := below(r, n)
		k := drawKind(r)
		from.Free(bytesAt(slots[i], 1))
		b := from.AllocDirty(sizeOf[k])
		b[0], b[len(b)-1] = byte(r), byte(r)
		slots[i], kinds[i] = unsafe.SliceData(b), k
	}
	*state = s
}
