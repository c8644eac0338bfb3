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

// Replayed has the figures of the replay of a trace.
type Replayed struct {
	Seconds        float64 `json:"seconds"`
	HarnessSeconds float64 `json:"harness_seconds,omitempty"` // of Seconds what the harness takes: see steps.harness; 0 with Threads or Verify
	LiveBytes      int64   `json:"live_bytes"`                // live at the end of the trace, by the allocator's count; 0 for the Go heap
	PeakRSS        int64   `json:"peak_rss_bytes"`            // the most in RAM, above the value before; -1 if unknown

	// See measure.Collection.
	GCCycles        int64   `json:"gc_cycles"`
	GCCPUSeconds    float64 `json:"gc_cpu_seconds"`
	STWTotalSeconds float64 `json:"stw_total_seconds"`
}

// Replay says how a trace is replayed.
type Replay struct {
	Kind    allocators.Kind // allocators.Heap or allocators.Go
	Threads bool            // a goroutine for each thread of the trace, instead of one for all
	Verify  bool            // fill every object, and check its bytes when it is freed
}

// allocator has the calls of a trace. A slab.Heap has them.
type allocator interface {
	TryAlloc(size, align int) ([]byte, error)
	TryAllocDirty(size, align int) ([]byte, error)
	TryRealloc(b []byte, size int) ([]byte, error)
	Free(b []byte)
}

type slabHeap = *slab.Heap

// goHeap is the Go heap with the calls of a trace.
type goHeap struct{}

func (goHeap) TryAlloc(size, _ int) ([]byte, error)      { return make([]byte, size), nil }
func (goHeap) TryAllocDirty(size, _ int) ([]byte, error) { return make([]byte, size), nil }

func (goHeap) TryRealloc(b []byte, size int) ([]byte, error) {
	if size <= cap(b) && size > cap(b)/2 {
		return b[:size], nil
	}
	out := make([]byte, size)
	copy(out, b)
	return out, nil
}

func (goHeap) Free([]byte) {}

// Run replays a trace. After the clock has stopped it checks and frees the objects that are still live.
// It returns an error for memory that is refused and, with Verify, for bytes that were changed.
func (r Replay) Run(t *Trace) (out Replayed, err error) {
	var a allocator = goHeap{}
	var heap *slab.Heap
	if r.Kind == allocators.Heap {
		if heap, err = slab.Open(slab.Config{Name: "replay"}); err != nil {
			return out, err
		}
		defer heap.Close()
		a = heap
	} else if r.Kind != allocators.Go {
		return out, fmt.Errorf("replay: there is no allocator %q", r.Kind)
	}
	run := &run{a: a, objects: allocators.Objects(t.Objects), verify: r.Verify}
	plain := !r.Threads && !r.Verify
	var steps steps
	if plain {
		steps = t.steps()
		out.HarnessSeconds = steps.harness(run.objects)
	}
	before := workload.RestartPeak()
	from := measure.ReadCollector()
	begin := time.Now()
	switch {
	case plain:
		err = steps.run(a, run.objects)
	case r.Threads:
		err = run.threads(t)
	default:
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

// run carries out the steps with an allocator.
func (s *steps) run(a allocator, objects []allocators.Object) error {
	through := func() (*step, error) { return s.throughGo(goHeap{}, objects) }
	if heap, is := a.(*slab.Heap); is {
		through = func() (*step, error) { return s.throughHeap(heap, objects) }
	}
	if failed, err := through(); err != nil {
		return fmt.Errorf("replay: object %d of %d bytes: %w", failed.object, failed.size, err)
	}
	return nil
}

// harness returns the seconds of a replay with an allocator that does nothing: the median of three. It
// leaves objects as they were at the start of a trace.
func (s *steps) harness(objects []allocators.Object) float64 {
	nothing := s.newNothing()
	var took [3]float64
	for i := range took {
		begin := time.Now()
		s.throughNothing(nothing, objects)
		took[i] = time.Since(begin).Seconds()
		clear(objects)
	}
	return measure.Median(took[:])
}

// run is a replay under way.
type run struct {
	a       allocator
	objects []allocators.Object
	verify  bool
}

// op runs one operation.
func (r *run) op(op *Op) error {
	at := &r.objects[op.Object]
	switch op.Code {
	case 'm', 'c':
		alloc, align := r.a.TryAllocDirty, max(op.Align, allocators.Align)
		if op.zeroed() {
			alloc = r.a.TryAlloc
		}
		b, err := alloc(op.Size, align)
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
		b, err := r.a.TryRealloc(allocators.Bytes(*at, op.Was), op.Size)
		if err != nil {
			return fmt.Errorf("replay: object %d to %d bytes: %w", op.Object, op.Size, err)
		}
		*at = unsafe.SliceData(b)
		kept := min(op.Was, op.Size)
		if err := r.check(op.Object, b[:kept]); err != nil {
			return err
		}
		r.fill(op.Object, b, kept)
	case 'f':
		b := allocators.Bytes(*at, op.Was)
		if err := r.check(op.Object, b); err != nil {
			return err
		}
		r.a.Free(b)
		*at = nil
	}
	return nil
}

// fill writes to an object: with verify to all bytes from the given one on, otherwise to the first and
// the last byte, which is the least that a program would write.
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

// check compares the bytes of an object with those that fill wrote.
func (r *run) check(object uint32, b []byte) error {
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

// threads runs each thread of the trace on a goroutine of its own. The operations on one object keep
// their order.
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
