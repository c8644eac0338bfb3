package workload

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Cross is what the benchmark with objects that change hands measured.
type Cross struct {
	NsPair float64 `json:"ns_pair"` // an allocation and its free
	PeakMB float64 `json:"peak_mb"`
	Sum    uint64  `json:"sum"` // of what the objects held
}

const (
	crossObjects = 10_000_000
	ringSize     = 4096
	ringBatch    = 16 // objects between two publications of an index
)

// ring hands objects from one goroutine to one other. Each has its own copy of the other's index,
// looked at again only when it must be.
type ring struct {
	_         [128]byte
	tail      atomic.Uint64
	_         [128]byte
	head      atomic.Uint64
	_         [128]byte
	pushed    uint64 // of the pushing side
	knownHead uint64
	_         [128]byte
	popped    uint64 // of the popping side
	knownTail uint64
	_         [128]byte
	items     [ringSize]object
}

func (r *ring) full() bool {
	if r.pushed-r.knownHead < ringSize {
		return false
	}
	r.knownHead = r.head.Load()
	return r.pushed-r.knownHead >= ringSize
}

func (r *ring) push(p object) {
	r.items[r.pushed%ringSize] = p
	if r.pushed++; r.pushed%ringBatch == 0 {
		r.tail.Store(r.pushed)
	}
}

func (r *ring) flush() { r.tail.Store(r.pushed) }

func (r *ring) pop() object {
	if r.popped == r.knownTail {
		if r.knownTail = r.tail.Load(); r.popped == r.knownTail {
			return nil
		}
	}
	p := r.items[r.popped%ringSize]
	if r.popped++; r.popped%ringBatch == 0 {
		r.head.Store(r.popped)
	}
	return p
}

// wait lets the other goroutine run if it has no processor of its own.
func wait(spins *int) {
	if *spins++; *spins%1024 == 0 {
		runtime.Gosched()
	}
}

func produce(from Source, s *splitmix) object {
	k := drawKind(s.next())
	b := from.AllocDirty(sizeOf[k])
	b[0], b[len(b)-1] = k, 1
	return unsafe.SliceData(b)
}

func consume(from Source, p object, sum *uint64) {
	*sum += uint64(*p)
	from.Free(bytesAt(p, 1))
}

// MeasureCross moves 10 million objects: from one goroutine that allocates to one that frees, or
// both ways between two that do both.
func MeasureCross(kind string, both bool) (Cross, error) {
	return measureCross(kind, both, crossObjects)
}

func measureCross(kind string, both bool, n int) (c Cross, err error) {
	source, done, err := sources(kind)
	if err != nil {
		return c, err
	}
	defer done()
	var rings [2]*ring
	for i := range rings {
		rings[i] = new(ring)
	}
	before := status("VmRSS:")
	var sums [2]uint64
	var wg sync.WaitGroup
	start := time.Now()
	for t := range 2 {
		wg.Go(func() {
			from := source()
			s := splitmix(2000 + t)
			switch {
			case both:
				sums[t] = crossBoth(from, &s, rings[t], rings[1-t], n)
			case t == 0:
				crossOut(from, &s, rings[0], n)
			default:
				sums[t] = crossIn(from, rings[0], n)
			}
		})
	}
	wg.Wait()
	c.NsPair = float64(time.Since(start).Nanoseconds()) / float64(n)
	c.PeakMB = float64(peakRSS()-before) / 1e6
	c.Sum = sums[0] + sums[1]
	return c, nil
}

func crossOut(from Source, s *splitmix, out *ring, n int) {
	spins := 0
	for range n {
		p := produce(from, s)
		for out.full() {
			wait(&spins)
		}
		out.push(p)
	}
	out.flush()
}

func crossIn(from Source, in *ring, n int) (sum uint64) {
	spins := 0
	for range n {
		p := in.pop()
		for ; p == nil; p = in.pop() {
			wait(&spins)
		}
		consume(from, p, &sum)
	}
	return sum
}

func crossBoth(from Source, s *splitmix, out, in *ring, n int) (sum uint64) {
	got, spins := 0, 0
	take := func() bool {
		p := in.pop()
		if p == nil {
			return false
		}
		consume(from, p, &sum)
		got++
		return true
	}
	for range n {
		p := produce(from, s)
		for out.full() {
			if !take() {
				wait(&spins)
			}
		}
		out.push(p)
		take()
	}
	out.flush()
	for got < n {
		if !take() {
			wait(&spins)
		}
	}
	return sum
}

// Phased is what the benchmark measured in which one goroutine allocates, then another frees all.
type Phased struct {
	NsAlloc float64 `json:"ns_alloc"`
	NsFree  float64 `json:"ns_rfree"`
	PeakMB  float64 `json:"peak_mb"`
	Sum     uint64  `json:"sum"`
}

const phaseObjects = 65536

// MeasurePhased lets two goroutines take turns: one allocates 65,536 objects, the other frees them
// in order, 10 million in all. The first round does not count.
func MeasurePhased(kind string) (Phased, error) { return measurePhased(kind, crossObjects) }

func measurePhased(kind string, n int) (ph Phased, err error) {
	source, done, err := sources(kind)
	if err != nil {
		return ph, err
	}
	defer done()
	rounds := n / phaseObjects
	objects := objectsInRAM(phaseObjects)
	before := status("VmRSS:")
	var turn atomic.Int64
	var took [2]time.Duration
	var wg sync.WaitGroup
	for t := range 2 {
		wg.Go(func() {
			from, s, spins := source(), splitmix(2000), 0
			for r := range rounds {
				for turn.Load() != int64(2*r+t) {
					wait(&spins)
				}
				begin := time.Now()
				if t == 0 {
					for i := range objects {
						objects[i] = produce(from, &s)
					}
				} else {
					for _, p := range objects {
						consume(from, p, &ph.Sum)
					}
				}
				if r > 0 {
					took[t] += time.Since(begin)
				}
				turn.Store(int64(2*r + t + 1))
			}
		})
	}
	wg.Wait()
	counted := float64((rounds - 1) * phaseObjects)
	ph.NsAlloc, ph.NsFree = float64(took[0].Nanoseconds())/counted, float64(took[1].Nanoseconds())/counted
	ph.PeakMB = float64(peakRSS()-before) / 1e6
	return ph, nil
}
