package service

import (
	"encoding/json"
	"hash/crc32"
	"runtime"
	"sync/atomic"
	"time"
)

// worker serves requests and takes their time. It is for one goroutine at a time.
type worker struct {
	service         Service
	worker, workers int
	entries         int
	stop            *atomic.Bool // ends a loop early

	key, value []byte // buffers
	sums       checksums

	histogram *histogram
	series    []interval
	served    int
	err       error // of the first request that failed
}

// interval is a tenth of a second of a loop.
type interval struct {
	requests, max int64
}

// step is the length of an interval.
const step = 100 * time.Millisecond

// begin forgets what a loop before has measured. The next loop has room for so long.
func (w *worker) begin(long time.Duration) {
	w.histogram = new(histogram)
	w.series = make([]interval, int(long/step)+1)
	w.served, w.sums = 0, checksums{every: make([]uint64, 0, 1<<13)}
}

// The answers to the two kinds of requests.
type (
	got struct {
		Key   string `json:"key"`
		Found bool   `json:"found"`
		Value string `json:"value"`
	}
	stored struct {
		Key  string `json:"key"`
		Size int    `json:"size"`
	}
)

// serve serves the next request of a stream. As a service does, it makes strings and the answer in fresh memory of
// the Go heap.
func (w *worker) serve(s *stream) {
	entry, replace, seed := s.next()
	w.key = appendKey(w.key[:0], entry)
	var answer []byte
	var err error
	if replace {
		w.value = appendValue(w.value[:0], seed)
		err = w.service.Set(w.key, w.value)
		if err == nil {
			answer, err = json.Marshal(&stored{string(w.key), len(w.value)})
		}
	} else {
		value, found := w.service.Get(w.value[:0], w.key)
		answer, err = json.Marshal(&got{string(w.key), found, string(value)})
	}
	if err != nil {
		w.fail(err)
	}
	w.served++
	w.sums.add(answer)
}

// fail notes the first error, and ends the loops of all workers.
func (w *worker) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.stop.Store(true)
}

// took notes a request that ended so long after the start of the loop, and took ns.
func (w *worker) took(ended time.Duration, ns int64) {
	w.histogram.add(ns)
	i := &w.series[min(int(ended/step), len(w.series)-1)]
	i.requests++
	i.max = max(i.max, ns)
}

// closed serves one request after the other for so long, and one at least.
func (w *worker) closed(phase int, start time.Time, long time.Duration) {
	s := newStream(phase, w.worker, w.workers, w.entries)
	for last := time.Since(start); ; {
		w.serve(&s)
		now := time.Since(start)
		w.took(now, int64(now-last))
		if last = now; last >= long || w.stop.Load() {
			return
		}
	}
}

// restore gives all entries that requests have replaced their first values again. So the next loop gives the same
// answers however many requests this one served.
func (w *worker) restore(phase int) {
	s := newStream(phase, w.worker, w.workers, w.entries)
	for range w.served {
		entry, replace, _ := s.next()
		if replace {
			w.first(entry)
		}
	}
}

// first stores the first value of an entry.
func (w *worker) first(entry int) {
	w.key = appendKey(w.key[:0], entry)
	w.value = appendValue(w.value[:0], firstSeed(entry))
	if err := w.service.Set(w.key, w.value); err != nil {
		w.fail(err)
	}
}

// load stores the first values of the worker's entries, and counts them in done.
func (w *worker) load(done *atomic.Int64) {
	for entry, n := w.worker, 0; entry < w.entries && !w.stop.Load(); entry += w.workers {
		w.first(entry)
		if n++; n%1024 == 0 {
			done.Add(1024)
		}
	}
}

// open serves requests that are due at fixed times, every workers-th of all: its latency counts from that time on.
// It ends early if it is late by more than patience, but not before the first request.
func (w *worker) open(start time.Time, rate float64, requests int, patience time.Duration) {
	s := newStream(phaseOpen, w.worker, w.workers, w.entries)
	for i := w.worker; i < requests && !w.stop.Load(); i += w.workers {
		due := dueAt(i, rate)
		now := time.Since(start)
		for ; now < due; now = time.Since(start) {
			if early := due - now; early > 2*sleepError {
				time.Sleep(early - sleepError)
			} else {
				runtime.Gosched()
			}
		}
		if now-due > patience && w.served > 0 {
			return
		}
		w.serve(&s)
		now = time.Since(start)
		w.took(now, int64(now-due))
	}
}

// sleepError is by how much a sleep may be too long. Shorter waits yield the processor again and again.
const sleepError = time.Millisecond

// dueAt returns when a request of the open loop is due.
func dueAt(request int, rate float64) time.Duration {
	return time.Duration(float64(request) / rate * float64(time.Second))
}

// checksums condense the answers to a stream of requests.
type checksums struct {
	sum   uint64   // of all answers up to now
	n     int      // answers
	every []uint64 // the sum after each sumEvery answers
}

// sumEvery is after how many answers a sum is kept, so that streams of different lengths can be compared.
const sumEvery = 1024

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c *checksums) add(answer []byte) {
	c.sum = (c.sum ^ uint64(crc32.Checksum(answer, castagnoli))) * 0x9E3779B97F4A7C15
	c.sum ^= c.sum >> 32
	if c.n++; c.n%sumEvery == 0 {
		c.every = append(c.every, c.sum)
	}
}
