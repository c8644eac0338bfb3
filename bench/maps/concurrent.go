package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/table"
)

// concurrentRows returns the rows of table.Concurrent. Goroutines ask for keys by Zipf's law, or change keys that no
// other goroutine changes. The time is that of the clock, divided by the operations of all goroutines.
func concurrentRows(n int) []row {
	label := fmt.Sprintf("%g M Concurrent: ", float64(n)/1e6)
	rows := []row{
		{name: label + "get, two goroutines", beside: "one goroutine", target: "0.56", unit: "ns", open: scaling(n, getConcurrent)},
		{name: label + "put, two goroutines", beside: "one goroutine", target: "0.56", unit: "ns", open: scaling(n, putConcurrent)},
		{name: label + "get, one goroutine", beside: "table.Map", unit: "ns", open: besideMap(n)},
	}
	for _, how := range []struct {
		name string
		run  func(f func(g int) uint64) uint64
	}{{"one", inTurn}, {"two", atOnce}} {
		add := func(op, beside string, open func(o *options) pair) {
			rows = append(rows, row{name: label + op + ", " + how.name, beside: beside, unit: "ns", open: open})
		}
		add("get", "locked Go maps", besides(n, newLocked, how.run, getConcurrent, getLocked))
		add("9 get, 1 put", "locked Go maps", besides(n, newLocked, how.run, mixConcurrent, mixLocked))
		add("put", "locked Go maps", besides(n, newLocked, how.run, putConcurrent, putLocked))
		add("get", "sync.Map", besides(n, newSynced, how.run, getConcurrent, getSynced))
		add("9 get, 1 put", "sync.Map", besides(n, newSynced, how.run, mixConcurrent, mixSynced))
		add("put", "sync.Map", besides(n, newSynced, how.run, putConcurrent, putSynced))
	}
	return rows
}

// asked has the keys that two goroutines ask for, and those that they change: the first one the even numbers, the
// second one the odd ones.
type asked struct{ get, put [2][]uint64 }

func newAsked(o *options, n int) (a asked) {
	z := workload.NewZipf(n, 0.99)
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for g := range uint64(2) {
		for range o.steps(n) {
			a.get[g] = append(a.get[g], key(uint64(z.Draw(random))))
			a.put[g] = append(a.put[g], key(random.Uint64N(uint64(n)/2)*2+g))
		}
	}
	return a
}

// inTurn runs f for both goroutines' keys on this one, atOnce on two.
func inTurn(f func(g int) uint64) uint64 { return f(0) + f(1) }

func atOnce(f func(g int) uint64) uint64 {
	var sums [2]struct {
		sum uint64
		_   [120]byte
	}
	var done sync.WaitGroup
	for g := range sums {
		done.Go(func() { sums[g].sum = f(g) })
	}
	done.Wait()
	return sums[0].sum + sums[1].sum
}

func newConcurrent(o *options, n int) (m *concurrent, close func()) {
	a := openArena(o)
	m = table.NewConcurrent[uint64, uint64](a, 0)
	for i := range uint64(n) {
		m.Put(key(i), key(i+1))
	}
	return m, func() { a.Close() }
}

// scaling compares two goroutines with one that does the work of both.
func scaling(n int, do func(m *concurrent, a *asked, g int) uint64) func(o *options) pair {
	return func(o *options) (p pair) {
		m, close := newConcurrent(o, n)
		a := newAsked(o, n)
		run := func(how func(f func(g int) uint64) uint64) func() (float64, uint64) {
			return func() (float64, uint64) {
				return o.timed(2*len(a.get[0]), func() uint64 { return how(func(g int) uint64 { return do(m, &a, g) }) })
			}
		}
		return pair{ours: run(atOnce), theirs: run(inTurn), close: close}
	}
}

// besideMap compares a Concurrent with a Map, on one goroutine.
func besideMap(n int) func(o *options) pair {
	return func(o *options) (p pair) {
		m, close := newConcurrent(o, n)
		a := newAsked(o, n)
		in := openArena(o)
		other := table.NewMap[uint64, uint64](in, 0)
		fillOurs(other, 0, uint64(n))
		return pair{
			ours: func() (float64, uint64) {
				return o.timed(len(a.get[0]), func() uint64 { return getConcurrent(m, &a, 0) })
			},
			theirs: func() (float64, uint64) {
				return o.timed(len(a.get[0]), func() uint64 { return getOurs(other, a.get[0]) })
			},
			close: func() { close(); in.Close() },
		}
	}
}

// besides compares a Concurrent with another table for many goroutines, both on as many as run has.
func besides[T interface{ put(k, v uint64) }](n int, newOther func() T, run func(f func(g int) uint64) uint64,
	ours func(m *concurrent, a *asked, g int) uint64, theirs func(m T, a *asked, g int) uint64) func(o *options) pair {
	return func(o *options) (p pair) {
		m, close := newConcurrent(o, n)
		a := newAsked(o, n)
		other := newOther()
		for i := range uint64(n) {
			other.put(key(i), key(i+1))
		}
		runtime.GC()
		return pair{
			ours: func() (float64, uint64) {
				return o.timed(2*len(a.get[0]), func() uint64 { return run(func(g int) uint64 { return ours(m, &a, g) }) })
			},
			theirs: func() (float64, uint64) {
				return o.timed(2*len(a.get[0]), func() uint64 { return run(func(g int) uint64 { return theirs(other, &a, g) }) })
			},
			close: close,
		}
	}
}

type concurrent = table.Concurrent[uint64, uint64]

// value is what a put has left behind of its key: the check of loops that put.
func value(v uint64, there bool) uint64 { return v }

func getConcurrent(m *concurrent, a *asked, g int) (check uint64) {
	for _, k := range a.get[g] {
		v, _ := m.Get(k)
		check += v
	}
	return check
}

func putConcurrent(m *concurrent, a *asked, g int) uint64 {
	for _, k := range a.put[g] {
		m.Put(k, k)
	}
	return value(m.Get(a.put[g][0]))
}

func mixConcurrent(m *concurrent, a *asked, g int) uint64 {
	for i, k := range a.get[g] {
		if i%10 == 9 {
			m.Put(k, k)
			continue
		}
		m.Get(k)
	}
	return value(m.Get(a.get[g][9]))
}

// locked is what programs write that have no concurrent table: 64 Go maps, each with a lock.
type locked struct {
	shards [64]struct {
		sync.RWMutex
		m theirs
		_ [96]byte
	}
}

func newLocked() *locked {
	l := new(locked)
	for i := range l.shards {
		l.shards[i].m = theirs{}
	}
	return l
}

func (l *locked) get(k uint64) uint64 {
	s := &l.shards[k>>58]
	s.RLock()
	v := s.m[k]
	s.RUnlock()
	return v
}

func (l *locked) put(k, v uint64) {
	s := &l.shards[k>>58]
	s.Lock()
	s.m[k] = v
	s.Unlock()
}

func getLocked(m *locked, a *asked, g int) (check uint64) {
	for _, k := range a.get[g] {
		check += m.get(k)
	}
	return check
}

func putLocked(m *locked, a *asked, g int) uint64 {
	for _, k := range a.put[g] {
		m.put(k, k)
	}
	return m.get(a.put[g][0])
}

func mixLocked(m *locked, a *asked, g int) uint64 {
	for i, k := range a.get[g] {
		if i%10 == 9 {
			m.put(k, k)
			continue
		}
		m.get(k)
	}
	return m.get(a.get[g][9])
}

// synced is a sync.Map with types.
type synced struct{ sync.Map }

func newSynced() *synced { return new(synced) }

func (s *synced) get(k uint64) uint64 {
	if v, ok := s.Load(k); ok {
		return v.(uint64)
	}
	return 0
}

func (s *synced) put(k, v uint64) { s.Store(k, v) }

func getSynced(m *synced, a *asked, g int) (check uint64) {
	for _, k := range a.get[g] {
		check += m.get(k)
	}
	return check
}

func putSynced(m *synced, a *asked, g int) uint64 {
	for _, k := range a.put[g] {
		m.put(k, k)
	}
	return m.get(a.put[g][0])
}

func mixSynced(m *synced, a *asked, g int) uint64 {
	for i, k := range a.get[g] {
		if i%10 == 9 {
			m.put(k, k)
			continue
		}
		m.get(k)
	}
	return m.get(a.get[g][9])
}
