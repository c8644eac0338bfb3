package table

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// shardedMap is what programs write that have no concurrent table: Go maps, each with a lock.
type shardedMap struct {
	shards [64]struct {
		sync.RWMutex
		m map[uint64]uint64
		_ [96]byte
	}
}

func newShardedMap() *shardedMap {
	s := new(shardedMap)
	for i := range s.shards {
		s.shards[i].m = map[uint64]uint64{}
	}
	return s
}

func (s *shardedMap) Get(k uint64) (uint64, bool) {
	sh := &s.shards[k*golden>>58]
	sh.RLock()
	v, ok := sh.m[k]
	sh.RUnlock()
	return v, ok
}

func (s *shardedMap) Put(k, v uint64) {
	sh := &s.shards[k*golden>>58]
	sh.Lock()
	sh.m[k] = v
	sh.Unlock()
}

// syncMap is a sync.Map with types.
type syncMap struct{ m sync.Map }

func (s *syncMap) Get(k uint64) (uint64, bool) {
	if v, ok := s.m.Load(k); ok {
		return v.(uint64), true
	}
	return 0, false
}

func (s *syncMap) Put(k, v uint64) { s.m.Store(k, v) }

// zipfKeys returns n of the keys, each as often as Zipf's law with exponent 0.99 says.
func zipfKeys(keys []uint64, n int) []uint64 {
	z := workload.NewZipf(len(keys), 0.99)
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	drawn := make([]uint64, n)
	for i := range drawn {
		drawn[i] = keys[z.Draw(random)]
	}
	return drawn
}

// BenchmarkConcurrent times a Concurrent, a sync.Map and 64 Go maps with a sync.RWMutex each, with one goroutine and with two. The time is
// per operation of all goroutines together: if reads scale, two take half of it. scaling is the throughput of two
// over that of one, measured in turn.
func BenchmarkConcurrent(b *testing.B) {
	type table interface {
		Get(k uint64) (uint64, bool)
		Put(k, v uint64)
	}
	for _, n := range []int{10_000, 1_000_000, 10_000_000} {
		keys := randomKeys(n)
		const drawn = 1 << 20
		zipf := [2][]uint64{zipfKeys(keys, drawn), zipfKeys(keys, drawn)}
		uniform := [2][]uint64{}
		for g := range uniform { // different keys for each goroutine
			for range drawn {
				uniform[g] = append(uniform[g], keys[rand.IntN(n/2)*2+g])
			}
		}
		for _, of := range []struct {
			name string
			new  func() table
		}{
			{"offheap", func() table {
				return NewConcurrent[uint64, uint64](openTest(b, arena.Config{HugePages: true}), n)
			}},
			{"sharded", func() table { return newShardedMap() }},
			{"sync.Map", func() table { return new(syncMap) }},
		} {
			if of.name == "sync.Map" && n > 1_000_000 {
				continue // fills memory
			}
			var m table
			for _, load := range []struct {
				name string
				do   func(g, i int)
			}{
				{"get", func(g, i int) { m.Get(zipf[g][i%drawn]) }},
				{"mixed", func(g, i int) {
					if k := zipf[g][i%drawn]; i%10 == 0 {
						m.Put(k, k)
					} else {
						m.Get(k)
					}
				}},
				{"put", func(g, i int) { m.Put(uniform[g][i%drawn], 1) }},
			} {
				b.Run(fmt.Sprintf("%s/n=%d/%s", load.name, n, of.name), func(b *testing.B) {
					if m == nil {
						m = of.new()
						for i, k := range keys {
							m.Put(k, keys[(i+1)%n])
						}
						runtime.GC()
					}
					run := func(goroutines, ops int) time.Duration {
						var ready, done sync.WaitGroup
						start := make(chan bool)
						for g := range goroutines {
							ready.Add(1)
							done.Add(1)
							go func() {
								ready.Done()
								<-start
								for i := range ops {
									load.do(g, i)
								}
								done.Done()
							}()
						}
						ready.Wait()
						begin := time.Now()
						close(start)
						done.Wait()
						return time.Since(begin)
					}
					const step = 100_000
					var one, two time.Duration
					ops := 0
					b.ResetTimer()
					for ; ops < b.N; ops += step {
						one += run(1, step)
						two += run(2, step)
					}
					b.ReportMetric(float64(one.Nanoseconds())/float64(ops), "ns-1")
					b.ReportMetric(float64(two.Nanoseconds())/float64(2*ops), "ns-2")
					b.ReportMetric(2*float64(one)/float64(two), "scaling")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
