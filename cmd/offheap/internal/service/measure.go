package service

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Job says what to measure.
type Job struct {
	Side    Side
	Entries int
	Limit   int64         // bytes; 0 for none
	Rate    float64       // of the open loop, in requests a second
	Long    time.Duration // of the closed loop; the others take half of it
	Plenty  bool          // measure without a limit, too

	// Target makes Measure search for the limit at which the service serves so many requests a second; Limit and
	// Most bound the search. 0 for no search.
	Target float64
	Most   int64
}

// run is the state of a measurement.
type run struct {
	*Job
	service     Service
	workers     []*worker
	stop        atomic.Bool
	interrupted atomic.Bool
	progress    measure.Progress
	began       measure.Collector // before the closed loop
}

// Measure runs a job. The figures are of the whole process, so it must have nothing else to do, and be started with
// the environment that Environment returns. An interrupt ends it early: it reports what there is.
func Measure(j *Job, progress measure.Progress) (*Report, error) {
	r := &run{Job: j, progress: progress}
	defer r.onInterrupt()()
	report := &Report{}
	report.LimitBytes = j.Limit
	if err := r.measure(report); err != nil {
		report.Error = err.Error()
	}
	report.Interrupted = r.interrupted.Load()
	return report, nil
}

// Environment returns the variables of the process that runs a job. Each service has the limit as GOMEMLIMIT, and Go's
// default GOGC; but a Go heap with next to nothing on it would be collected all the time, so GOGC is 400 for the
// service off the heap.
func (j *Job) Environment() []string {
	limit, gogc := "off", "100"
	if j.Limit > 0 {
		limit = fmt.Sprint(j.Limit)
	}
	if j.Side == OffHeap {
		gogc = "400"
	}
	return []string{"GOMEMLIMIT=" + limit, "GOGC=" + gogc}
}

// onInterrupt lets an interrupt end the measurement, until the returned function is called. Ctrl-C interrupts this process
// twice: the terminal does, and the process that started this one.
func (r *run) onInterrupt() (end func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		for range signals {
			r.interrupted.Store(true)
			r.stop.Store(true)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

func (r *run) measure(report *Report) (err error) {
	off := r.Limit
	if r.Limit > 0 && r.Side == OffHeap {
		off -= OwnMemory / 2 // the rest is for the Go heap
		if _, err := guard.SetBudget(guard.Budget{Hard: off, ShareGoLimit: true}); err != nil {
			return err
		}
	}
	if r.service, err = Open(r.Side, r.Entries, off); err != nil {
		return err
	}
	defer func() {
		if e := r.service.Close(); err == nil {
			err = e
		}
	}()
	n := runtime.GOMAXPROCS(0)
	for i := range n {
		r.workers = append(r.workers, &worker{service: r.service, worker: i, workers: n, entries: r.Entries, stop: &r.stop})
	}
	steps := []func(*Report) error{r.load, r.closed, r.open, r.collect, r.plenty}
	if r.Target > 0 {
		steps = []func(*Report) error{r.load, r.search}
	}
	for _, step := range steps {
		if err := step(report); err != nil || r.stop.Load() {
			return err
		}
	}
	return nil
}

// OwnMemory is how many bytes of a limit are for the program itself: its code, stacks and the answers on their way.
const OwnMemory = 32 << 20

// each runs f for every worker at once, and shows done of total as the progress of a step meanwhile. It returns
// the first error of a worker.
func (r *run) each(what string, total int, done func() int, f func(*worker)) error {
	var all sync.WaitGroup
	for _, w := range r.workers {
		all.Go(func() { f(w) })
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-tick.C:
			r.progress(what, min(done(), total), total)
			continue
		case <-ended:
		}
		tick.Stop()
		for _, w := range r.workers {
			if w.err != nil {
				return w.err
			}
		}
		return nil
	}
}

func (r *run) load(report *Report) error {
	var done atomic.Int64
	start := time.Now()
	err := r.each("loading", r.Entries, func() int { return int(done.Load()) }, func(w *worker) { w.load(&done) })
	report.LoadSeconds = time.Since(start).Seconds()
	return err
}

// loop runs a loop of each worker, which takes so long, and merges what the workers measured. It calls tick, if there is one,
// some times a second meanwhile.
func (r *run) loop(what string, long time.Duration, tick func(), f func(w *worker, start time.Time)) (h histogram, series []interval, took time.Duration, err error) {
	for _, w := range r.workers {
		w.begin(long)
	}
	start := time.Now()
	elapsed := func() int {
		if tick != nil {
			tick()
		}
		return int(time.Since(start) / time.Millisecond)
	}
	err = r.each(what+", milliseconds", int(long/time.Millisecond), elapsed, func(w *worker) { f(w, start) })
	took = time.Since(start)
	series = make([]interval, len(r.workers[0].series))
	for _, w := range r.workers {
		h.merge(w.histogram)
		for i, n := range w.series {
			series[i].requests += n.requests
			series[i].max = max(series[i].max, n.max)
		}
	}
	return h, series, took, err
}

// sums returns the checksums of the last loop.
func (r *run) sums() (l Loop) {
	for _, w := range r.workers {
		l.Requests += int64(w.served)
		l.Sums = append(l.Sums, Sums{w.sums.sum, w.sums.n, w.sums.every})
	}
	return l
}

func (r *run) closed(report *Report) error {
	endCycle()
	r.began = measure.ReadCollector()
	cpu := workload.ProcessorTime()
	h, series, took, err := r.loop("closed loop", r.Long, nil, func(w *worker, start time.Time) { w.closed(phaseClosed, start, r.Long) })
	cpu = workload.ProcessorTime() - cpu
	r.usage(report)
	report.Closed = r.sums()
	report.RequestsPerSecond, report.Latencies = rate(h.n, took), h.latencies()
	report.CPUPerRequest = float64(cpu) / float64(max(h.n, 1))
	for _, i := range series {
		report.Series = append(report.Series, Interval{i.requests, i.max})
	}
	return err
}

// usage takes the figures of memory, and of the collector since the closed loop began.
func (r *run) usage(report *Report) {
	now := measure.ReadCollector()
	done := now.Since(&r.began)
	report.Cycles, report.GCCPUSeconds = done.Cycles, done.CPUSeconds
	report.PeakRSSBytes = workload.Peak()
}

func rate(n uint64, took time.Duration) float64 { return float64(n) / took.Seconds() }

func (r *run) restore(phase int) error {
	return r.each("restoring", 1, func() int { return 0 }, func(w *worker) { w.restore(phase) })
}

func (r *run) open(report *Report) error {
	if err := r.restore(phaseClosed); err != nil {
		return err
	}
	long := r.Long / 2
	requests := int(r.Rate * long.Seconds())
	h, _, _, err := r.loop("open loop", long, nil, func(w *worker, start time.Time) { w.open(start, r.Rate, requests, long) })
	report.OpenLoop = h.latencies()
	report.Open = r.sums()
	report.Open.Late = report.Open.Requests < int64(requests)
	r.usage(report)
	return err
}

// endCycle waits until the collection that is under way has ended. The runtime counts its work then.
func endCycle() {
	// The runtime's setGCPercent promises it: to turn the collector off waits for its end.
	debug.SetGCPercent(debug.SetGCPercent(-1))
}

// collect completes the collector's figures of both loops, lifts the limits, and times a collection.
func (r *run) collect(report *Report) error {
	endCycle()
	r.usage(report)
	if _, err := guard.SetBudget(guard.Budget{}); err != nil {
		return err
	}
	debug.SetMemoryLimit(math.MaxInt64)
	start := time.Now()
	runtime.GC()
	report.ForcedGCSeconds = time.Since(start).Seconds()
	return nil
}

// plenty measures a closed loop again, now that the limits are lifted.
func (r *run) plenty(report *Report) error {
	if !r.Plenty {
		return nil
	}
	if err := r.restore(phaseOpen); err != nil {
		return err
	}
	before, cpu := measure.ReadCollector(), workload.ProcessorTime()
	long := r.Long / 2
	h, _, took, err := r.loop("without a limit", long, nil, func(w *worker, start time.Time) { w.closed(phasePlenty, start, long) })
	cpu = workload.ProcessorTime() - cpu
	after := measure.ReadCollector()
	report.Plenty = &Plenty{rate(h.n, took), h.latencies(), float64(cpu) / float64(max(h.n, 1)), after.Since(&before).Cycles, workload.Peak()}
	return err
}

// longestTry bounds the time of a limit at which there is no collection, in loops.
const longestTry = 8

const gcCycles = "/gc/cycles/total:gc-cycles"

// search halves the limits between Limit and Most until it knows to 3 % the smallest one at which the service
// serves Target requests a second. GOGC is off: the limit alone says when to collect. Each limit is tried from the end of
// one collection to the end of the next, so that the work of the collector is in the figure.
func (r *run) search(report *Report) error {
	debug.SetGCPercent(-1)
	try := func(limit int64) (requests float64, err error) {
		debug.SetMemoryLimit(limit)
		runtime.GC()
		cycles, start := measure.Metric(gcCycles).Uint64(), time.Now()
		enough := func() {
			if time.Since(start) >= r.Long && measure.Metric(gcCycles).Uint64() > cycles {
				r.stop.Store(true)
			}
		}
		long := r.Long * longestTry
		h, _, took, err := r.loop(fmt.Sprintf("limit %d MiB", limit>>20), long, enough, func(w *worker, start time.Time) { w.closed(phaseClosed, start, long) })
		if err == nil && !r.interrupted.Load() {
			r.stop.Store(false)
		}
		return rate(h.n, took), err
	}
	low, high := r.Limit, r.Most
	requests, err := try(high)
	if err != nil || r.stop.Load() {
		return err
	}
	report.Search = &Search{high, requests, requests >= r.Target}
	for report.Search.Reached && high-low > high*3/100 {
		middle := low + (high-low)/2
		requests, err := try(middle)
		if err != nil || r.stop.Load() {
			return err
		}
		if requests < r.Target {
			low = middle
			continue
		}
		high = middle
		*report.Search = Search{high, requests, true}
	}
	return nil
}
