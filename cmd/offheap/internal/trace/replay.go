package trace

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/slab"
)

// Replayed is what the replay of a trace cost.
type Replayed struct {
	Seconds   float64 `json:"seconds"`
	LiveBytes int64   `json:"live_bytes"`     // what the allocator says is in use at the end; 0 for the Go heap
	PeakRSS   int64   `json:"peak_rss_bytes"` // the most in RAM above what was there before; -1 where unknown

	// See measure.Collection.
	GCCycles        int64   `json:"gc_cycles"`
	GCCPUSeconds    float64 `json:"gc_cpu_seconds"`
	STWTotalSeconds float64 `json:"stw_total_seconds"`
}

// Replay is how a trace is replayed.
type Replay struct {
	Kind    allocators.Kind // allocators.Heap or allocators.Go
	Threads bool            // a goroutine for each thread of the trace, instead of one for all
	Verify  bool            // fill every object, and look at it when it is freed
}

// allocator is an allocator that a trace runs through.
type allocator interface {
	alloc(size, align int, zeroed bool) ([]byte, error)
	realloc(b []byte, size int) ([]byte, error)
	free(b []byte)
}

type slabHeap struct{ *slab.Heap }

func (h slabHeap) alloc(size, align int, zeroed bool) ([]byte, error) {
	switch {
	case align > 0:
		return h.TryAllocAligned(size, align)
	case zeroed:
		return h.TryAlloc(size)
	}
	return h.TryAllocDirty(size)
}

func (h slabHeap) realloc(b []byte, size int) ([]byte, error) { return h.TryRealloc(b, size) }

func (h slabHeap) free(b []byte) { h.Free(b) }

type goHeap struct{}

func (goHeap) alloc(size, align int, zeroed bool) ([]byte, error) { return make([]byte, size), nil }

func (goHeap) realloc(b []byte, size int) ([]byte, error) {
	if size <= cap(b) && size > cap(b)/2 {
		return b[:size], nil
	}
	out := make([]byte, size)
	copy(out, b)
	return out, nil
}

func (goHeap) free([]byte) {}

// Run replays a trace. What is live at its end is verified and freed after the time was taken.
func (r Replay) Run(t *Trace) (out Replayed, err error) {
	var a allocator = goHeap{}
	var heap *slab.Heap
	if r.Kind == allocators.Heap {
		if heap, err = slab.Open(slab.Config{Name: "replay"}); err != nil {
			return out, err
		}
		defer heap.Close()
		a = slabHeap{heap}
	} else if r.Kind != allocators.Go {
		return out, fmt.Errorf("replay: there is no allocator %q", r.Kind)
	}
	run := &run{a: a, objects: allocators.Objects(t.Objects), verify: r.Verify}
	before := workload.RestartPeak()
	from := measure.ReadCollector()
	begin := time.Now()
	if r.Threads {
		err = run.threads(t)
	} else {
		for i := range t.Ops {
			if err = run.op(&t.Ops[i]); err != nil {
				break
			}
		}
	}
	out.Seconds = time.Since(begin).Seconds()
	to := measure.ReadCollector()
	c := to.Since(&from)
	out.GCCycles, out.GCCPUSeconds, out.STWTotalSeconds = c.Cycles, c.CPUSeconds, c.STWTotalSeconds
	out.PeakRSS = max(workload.Peak()-before, -1)
	if err != nil {
		return out, err
	}
	if heap != nil {
		out.LiveBytes = heap.Stats().Live
	}
	for i, size := range t.left() {
		if run.objects[i] != nil {
			if err := run.op(&Op{Code: 'f', Object: uint32(i), Was: size}); err != nil {
				return out, err
			}
		}
	}
	if heap != nil {
		if live := heap.Stats().Live; live != 0 {
			return out, fmt.Errorf("replay: %d bytes are live after everything was freed", live)
		}
	}
	return out, nil
}

type run struct {
	a       allocator
	objects []allocators.Object
	verify  bool
}

func (r *run) op(op *Op) error {
	at := &r.objects[op.Object]
	switch op.Code {
	case 'm', 'c':
		b, err := r.a.alloc(op.Size, op.Align, op.Code == 'c')
		if err != nil {
			return fmt.Errorf("replay: object %d of %d bytes: %w", op.Object, op.Size, err)
		}
		if r.verify && op.Code == 'c' {
			for i, x := range b {
				if x != 0 {
					return fmt.Errorf("replay: byte %d of object %d, which must be zero, is %d", i, op.Object, x)
				}
			}
		}
		r.fill(op.Object, b, 0)
		*at = unsafe.SliceData(b)
	case 'r':
		b, err := r.a.realloc(allocators.Bytes(*at, op.Was), op.Size)
		if err != nil {
			return fmt.Errorf("replay: object %d to %d bytes: %w", op.Object, op.Size, err)
		}
		*at = unsafe.SliceData(b)
		kept := min(op.Was, op.Size)
		if err := r.look(op.Object, b[:kept]); err != nil {
			return err
		}
		r.fill(op.Object, b, kept)
	case 'f':
		b := allocators.Bytes(*at, op.Was)
		if err := r.look(op.Object, b); err != nil {
			return err
		}
		r.a.free(b)
		*at = nil
	}
	return nil
}

// fill writes into an object from a byte on: all of it to verify, else as little as a program would
// at the least, its first byte and its last.
func (r *run) fill(object uint32, b []byte, from int) {
	if !r.verify {
		if len(b) > 0 {
			b[0], b[len(b)-1] = byte(object), byte(object)
		}
		return
	}
	for i := from; i < len(b); i++ {
		b[i] = byte(object*31) + byte(i)
	}
}

// look verifies an object.
func (r *run) look(object uint32, b []byte) error {
	if !r.verify {
		return nil
	}
	for i, x := range b {
		if x != byte(object*31)+byte(i) {
			return fmt.Errorf("replay: byte %d of %d of object %d was changed", i, len(b), object)
		}
	}
	return nil
}

// threads gives each thread of the trace a goroutine. The operations on one object keep their order.
func (r *run) threads(t *Trace) error {
	turns := make([]atomic.Uint32, len(r.objects))
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for _, ops := range t.byThread() {
		wg.Go(func() {
			for i := range ops {
				op := &ops[i]
				if op.Code == 'x' {
					continue
				}
				for turns[op.Object].Load() != op.Turn {
					if failed.Load() != nil {
						return
					}
					runtime.Gosched()
				}
				if err := r.op(op); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				turns[op.Object].Store(op.Turn + 1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
