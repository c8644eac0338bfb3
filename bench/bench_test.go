package bench

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// compare runs a benchmark for each peer that can run it.
func compare(b *testing.B, can func(peer) bool, run func(b *testing.B, open func() allocator)) {
	for _, p := range peers {
		if can(p) {
			b.Run("peer="+p.name, func(b *testing.B) { run(b, p.open(b)) })
		}
	}
}

func BenchmarkPair64(b *testing.B) { pair(b, 64) }
func BenchmarkPair1K(b *testing.B) { pair(b, 1024) }

// pair allocates an object, writes 8 bytes and frees it.
func pair(b *testing.B, size int) {
	can := func(p peer) bool { return p.size == 0 || p.size == size }
	compare(b, can, func(b *testing.B, open func() allocator) {
		from := open()
		b.ResetTimer()
		if !from.pairs(b.N, size) {
			b.Fatal("an object has another length, or other bytes, than it should")
		}
	})
}

// stamp writes to both ends of an object, so that an overlap is noticed.
func stamp(object []byte, id byte) { object[0], object[len(object)-1] = id, id }

// stamped tells whether both ends are as stamp left them.
func stamped(object []byte, id byte) bool { return object[0] == id && object[len(object)-1] == id }

// BenchmarkChurn replaces one of 100,000 objects at random.
func BenchmarkChurn(b *testing.B) {
	can := func(p peer) bool { return p.size == 0 }
	compare(b, can, func(b *testing.B, open func() allocator) { churn(b, open, 1) })
}

// BenchmarkChurnTwo does so on two goroutines, with 100,000 objects each. An operation of either
// counts, so without contention it takes half the time of BenchmarkChurn.
func BenchmarkChurnTwo(b *testing.B) {
	can := func(p peer) bool { return p.size == 0 }
	compare(b, can, func(b *testing.B, open func() allocator) { churn(b, open, 2) })
}

const live = 100_000

// churner has the objects of one goroutine.
type churner struct {
	from  allocator
	slots [][]byte
	state workload.Random
	_     [128]byte // no cache line is shared with the next goroutine
}

// churn fills the slots of each goroutine, and then replaces b.N objects on all of them together.
func churn(b *testing.B, open func() allocator, goroutines int) {
	workers := make([]churner, goroutines)
	for i := range workers {
		workers[i] = churner{from: open(), slots: make([][]byte, live), state: workload.Random(1000 + i)}
		clear(workers[i].slots) // in RAM from here on
	}
	memory := watch(b)
	var filled, done sync.WaitGroup
	start := make(chan struct{})
	for i := range workers {
		filled.Add(1)
		done.Go(func() {
			w := &workers[i]
			w.fill()
			filled.Done()
			<-start
			w.from.replace(w, (b.N+i)/goroutines)
		})
	}
	filled.Wait()
	b.ResetTimer()
	close(start)
	done.Wait()
	b.StopTimer()
	total := 0
	for i := range workers {
		n, err := workers[i].drain()
		must(b, err)
		total += n
	}
	memory.report(total)
}

func (w *churner) fill() {
	for i := range w.slots {
		_, size := w.state.Draw(live)
		w.slots[i] = w.from.Alloc(size)
		stamp(w.slots[i], byte(i))
	}
}

// drain frees all objects and returns their bytes. It returns an error if they overlapped.
func (w *churner) drain() (total int, err error) {
	for i, object := range w.slots {
		if !stamped(object, byte(i)) {
			err = fmt.Errorf("object %d of %d bytes was overwritten", i, len(object))
		}
		total += len(object)
	}
	for _, object := range w.slots {
		w.from.Free(object)
	}
	clear(w.slots) // their addresses may belong to the Go heap before long
	return total, err
}

// BenchmarkHandOver allocates on one goroutine and frees on another.
func BenchmarkHandOver(b *testing.B) {
	can := func(p peer) bool { return p.size == 0 && !p.apart }
	compare(b, can, func(b *testing.B, open func() allocator) { must(b, handOver(open, b.N)) })
}

// batch has the objects that one goroutine hands to the other at a time.
type batch struct {
	objects [256][]byte
	n       int
}

const batches = 16 // under way at most

// handOver moves n objects from a goroutine that allocates to one that frees. It returns an error if
// objects overlapped.
func handOver(open func() allocator, n int) (err error) {
	full, empty := make(chan *batch, batches), make(chan *batch, batches)
	for range batches {
		empty <- new(batch)
	}
	producer, consumer := open(), open()
	go func() {
		defer close(full)
		state := workload.Random(2000)
		for n > 0 {
			out := <-empty
			out.n = min(n, len(out.objects))
			producer.produce(out, &state)
			n -= out.n
			full <- out
		}
	}()
	for in := range full {
		if !consumer.consume(in) {
			err = errors.New("an object was overwritten")
		}
		empty <- in
	}
	return err
}

// peakMemory measures how far the process grows during a benchmark. Only the first benchmark of a process
// reports it: the next would start with the memory that this one left behind.
type peakMemory struct {
	b      *testing.B
	before int64 // bytes in RAM
}

// firstWatched is the name of the first benchmark that asked for its peak memory.
var firstWatched string

// watch starts to measure.
func watch(b *testing.B) peakMemory {
	if firstWatched == "" {
		firstWatched = b.Name()
	}
	return peakMemory{b, workload.RestartPeak()} // gives back the memory of a shorter run, too
}

// report adds the peak over the live bytes to the benchmark's figures.
func (m peakMemory) report(liveBytes int) {
	if peak := workload.Peak(); peak > 0 && m.b.Name() == firstWatched {
		m.b.ReportMetric(float64(peak-m.before)/float64(liveBytes), "peak-bytes/live-byte")
	}
}
