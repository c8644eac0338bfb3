package service

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestServices does the same with each service, and with a Go map.
func TestServices(t *testing.T) {
	const entries = 3000
	for _, side := range []Side{GoMaps, GoFlat, OffHeap} {
		t.Run(string(side), func(t *testing.T) {
			s, err := Open(side, entries, 0)
			if err != nil {
				t.Fatal(err)
			}
			model := map[string]string{}
			for i := range 4 * entries {
				entry := int(mix(uint64(i)) % entries)
				key, value := appendKey(nil, entry), appendValue(nil, mix(uint64(i)))
				if err := s.Set(key, value); err != nil {
					t.Fatal(err)
				}
				model[string(key)] = string(value)
				clear(value) // the service has copies
			}
			for entry := range entries {
				key := appendKey(nil, entry)
				want, there := model[string(key)]
				got, found := s.Get(nil, key)
				if found != there || string(got) != want {
					t.Fatalf("entry %d: %q, %v; want %q, %v", entry, got, found, want, there)
				}
			}
			if _, found := s.Get(nil, []byte("a key that there is not")); found {
				t.Error("found a key that there is not")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if s, err := Open("disk", 1, 0); err == nil || s != nil {
		t.Errorf("Open returns %v, %v for a service that there is not", s, err)
	}
	if err := newGoFlat(1).Set([]byte("key"), make([]byte, maxValue+1)); err == nil {
		t.Error("go_flat takes a value that is too long")
	}
}

// job is a short one.
func job(side Side) *Job {
	return &Job{Side: side, Entries: 5000, Rate: 20_000, Long: 200 * time.Millisecond, Plenty: true}
}

func noProgress(string, int, int) {}

// TestMeasure measures each service: all figures are there, and all answers are equal.
func TestMeasure(t *testing.T) {
	var reports []*Report
	for _, side := range []Side{GoMaps, GoFlat, OffHeap} {
		r, err := Measure(job(side), noProgress)
		if err != nil || r.Error != "" || r.Interrupted {
			t.Fatalf("%s: %v, %q", side, err, r.Error)
		}
		reports = append(reports, r)
		l := r.Latencies
		if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.P9999 || l.P9999 > l.Max {
			t.Errorf("%s: percentiles %+v", side, l)
		}
		if r.RequestsPerSecond <= 0 || r.CPUPerRequest <= 0 || r.ForcedGCSeconds <= 0 || r.Plenty == nil || r.Plenty.RequestsPerSecond <= 0 || r.OpenLoop.P50 <= 0 {
			t.Errorf("%s: %+v", side, r)
		}
		if runtime.GOOS == "linux" && r.PeakRSSBytes <= 0 {
			t.Errorf("%s: peak %d", side, r.PeakRSSBytes)
		}
		sum := int64(0)
		for _, i := range r.Series {
			sum += i.Requests
		}
		if len(r.Series) != 3 || sum != r.Closed.Requests {
			t.Errorf("%s: %d intervals have %d requests of %d", side, len(r.Series), sum, r.Closed.Requests)
		}
		if !slices.ContainsFunc(r.Series, func(i Interval) bool { return i.Max == l.Max }) {
			t.Errorf("%s: the longest request, %d, is not in %v", side, l.Max, r.Series)
		}
	}
	for _, r := range reports[1:] {
		if n, equal := r.Closed.Compare(&reports[0].Closed); !equal {
			t.Errorf("after %d equal answers of the closed loop one differs", n)
		}
		if n, equal := r.Open.Compare(&reports[0].Open); !equal {
			t.Errorf("after %d equal answers of the open loop one differs", n)
		}
	}
}

// loops returns workers on a service that holds the entries.
func loops(t *testing.T, s Service, workers, entries int) (all []*worker) {
	t.Helper()
	var stop atomic.Bool
	for i := range workers {
		w := &worker{service: s, worker: i, workers: workers, entries: entries, stop: &stop}
		w.load(new(atomic.Int64))
		w.begin(time.Second)
		all = append(all, w)
	}
	return all
}

// TestRestore serves different numbers of requests, and then the same open loop, which must give the same answers.
func TestRestore(t *testing.T) {
	var sums []Loop
	for _, long := range []time.Duration{0, 30 * time.Millisecond} {
		w := loops(t, newGoMaps(100), 1, 100)[0]
		w.closed(phaseClosed, time.Now(), long)
		w.restore(phaseClosed)
		w.begin(time.Second)
		w.open(time.Now(), 1e9, 3000, time.Hour)
		sums = append(sums, Loop{Sums: []Sums{{w.sums.sum, w.sums.n, w.sums.every}}})
	}
	if n, equal := sums[0].Compare(&sums[1]); !equal || n != 3000 {
		t.Errorf("compared %d answers, equal: %v", n, equal)
	}
}

// TestOpenLoop serves requests that were due long ago: their latency counts from then on, until one waits too long.
func TestOpenLoop(t *testing.T) {
	w := loops(t, newGoMaps(100), 2, 100)[1]
	start := time.Now().Add(-time.Minute)
	w.open(start, 1000, 500, time.Hour)
	if w.served != 250 || w.histogram.n != 250 {
		t.Errorf("served %d, counted %d of 250 requests", w.served, w.histogram.n)
	}
	if least := w.histogram.percentile(0); time.Duration(least) < 59*time.Second {
		t.Errorf("a request that was due a minute ago took %v", time.Duration(least))
	}
	w.begin(time.Second)
	w.open(start, 1000, 500, time.Second)
	if w.served != 1 {
		t.Errorf("served %d requests that had waited too long, want 1", w.served)
	}
	// Requests that are due later are waited for.
	w.begin(time.Second)
	start = time.Now()
	w.open(start, 100, 4, time.Hour)
	if waited := time.Since(start); waited < 30*time.Millisecond || w.served != 2 {
		t.Errorf("served %d requests in %v", w.served, waited)
	}
}

// TestCompareSums makes answers differ, and streams have different lengths.
func TestCompareSums(t *testing.T) {
	loop := func(answers int, wrong int) *Loop {
		var c checksums
		for i := range answers {
			text := fmt.Sprint("answer ", i)
			if i == wrong {
				text = "another"
			}
			c.add([]byte(text))
		}
		return &Loop{Sums: []Sums{{c.sum, c.n, c.every}}}
	}
	for _, c := range []struct {
		a, b     *Loop
		compared int64
		equal    bool
	}{
		{loop(3000, -1), loop(3000, -1), 3000, true},
		{loop(3000, -1), loop(5000, -1), 2048, true},
		{loop(1000, -1), loop(5000, 3), 0, true},
		{loop(3000, -1), loop(3000, 0), 0, false},
		{loop(3000, -1), loop(3000, 2999), 0, false},
		{loop(3000, 5), loop(5000, -1), 0, false},
		{loop(3000, 2500), loop(5000, -1), 2048, true},
		{&Loop{}, loop(1, -1), 0, false},
	} {
		if n, equal := c.a.Compare(c.b); n != c.compared || equal != c.equal {
			t.Errorf("compared %d and %v, want %d and %v", n, equal, c.compared, c.equal)
		}
		if n, equal := c.b.Compare(c.a); n != c.compared || equal != c.equal {
			t.Errorf("the other way round: compared %d and %v, want %d and %v", n, equal, c.compared, c.equal)
		}
	}
}

// broken fails after some calls.
type broken struct {
	Service
	calls atomic.Int64
	after int64
}

var errBroken = errors.New("broken")

func (b *broken) Set(key, value []byte) error {
	if b.calls.Add(1) > b.after {
		return errBroken
	}
	return b.Service.Set(key, value)
}

// TestFailures lets Set fail while loading, in a loop and while restoring: every worker ends.
func TestFailures(t *testing.T) {
	for _, after := range []int64{0, 500, 1500} {
		s := &broken{Service: newGoMaps(1000), after: after}
		var stop atomic.Bool
		r := &run{Job: &Job{Entries: 1000, Long: time.Minute, Rate: 1000}, progress: noProgress}
		for i := range 2 {
			r.workers = append(r.workers, &worker{service: s, worker: i, workers: 2, entries: 1000, stop: &stop})
		}
		report := new(Report)
		err := r.load(report)
		if err == nil {
			err = r.closed(report)
		}
		if !errors.Is(err, errBroken) {
			t.Errorf("after %d calls: %v", after, err)
		}
	}
}

// TestMeasureFails has no memory off the heap.
func TestMeasureFails(t *testing.T) {
	defer guard.SetBudget(guard.Budget{})
	if _, err := guard.SetBudget(guard.Budget{Hard: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	r, err := Measure(job(OffHeap), noProgress)
	if err != nil || r.Error == "" {
		t.Errorf("%v, %q", err, r.Error)
	}
}

// TestInterrupt interrupts a long loop twice, as Ctrl-C does: the report has what there is.
func TestInterrupt(t *testing.T) {
	j := job(GoMaps)
	j.Long = time.Hour
	interrupted := false
	r, err := Measure(j, func(what string, done, _ int) {
		if what == "closed loop, milliseconds" && done > 50 && !interrupted {
			interrupted = true
			self, err := os.FindProcess(os.Getpid())
			for range 2 {
				if err == nil {
					err = self.Signal(os.Interrupt)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || !r.Interrupted || r.Error != "" || r.RequestsPerSecond <= 0 || r.OpenLoop.P50 != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestSearch finds that a small target is reached within 3 % of the smallest limit, and that a huge one is not.
func TestSearch(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	j := job(GoMaps)
	j.Limit, j.Most, j.Target, j.Long = 100<<20, 400<<20, 1, 100*time.Millisecond
	r, err := Measure(j, noProgress)
	if err != nil || r.Error != "" || !r.Search.Reached || r.Search.LimitBytes > j.Limit*104/100 || r.Search.LimitBytes < j.Limit {
		t.Errorf("%v, %q, %+v", err, r.Error, r.Search)
	}
	j.Target = 1e12
	r, err = Measure(j, noProgress)
	if err != nil || r.Error != "" || r.Search.Reached || r.Search.LimitBytes != j.Most {
		t.Errorf("%v, %q, %+v", err, r.Error, r.Search)
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		side  Side
		limit int64
		want  []string
	}{
		{GoMaps, 1000, []string{"GOMEMLIMIT=1000", "GOGC=100"}},
		{GoFlat, 0, []string{"GOMEMLIMIT=off", "GOGC=100"}},
		{OffHeap, 1000, []string{"GOMEMLIMIT=1000", "GOGC=400"}},
	} {
		j := &Job{Side: c.side, Limit: c.limit}
		if got := j.Environment(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.side, got, c.want)
		}
	}
}
