package arena

import (
	"math/rand/v2"
	"testing"
)

func benchKeys(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rand.Uint64()
	}
	return keys
}

func BenchmarkMapPutGrow(b *testing.B) {
	keys := benchKeys(1 << 20)
	a, _ := Open(Config{Retain: 1 << 30})
	defer a.Close()
	for b.Loop() {
		a.Reset()
		m := NewMap[uint64, uint64](a, 0)
		for _, k := range keys {
			m.Put(k, k)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<20), "ns/put")
}
func BenchmarkMapGoPutGrow(b *testing.B) {
	keys := benchKeys(1 << 20)
	for b.Loop() {
		m := map[uint64]uint64{}
		for _, k := range keys {
			m[k] = k
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<20), "ns/put")
}

var sinkU uint64

func BenchmarkMapGet(b *testing.B) {
	keys := benchKeys(1 << 20)
	a, _ := Open(Config{Retain: 1 << 30})
	defer a.Close()
	m := NewMap[uint64, uint64](a, 0)
	for _, k := range keys {
		m.Put(k, k)
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	i := 0
	for b.Loop() {
		v, _ := m.Get(keys[i&(1<<20-1)])
		sinkU += v
		i++
	}
}
func BenchmarkMapGoGet(b *testing.B) {
	keys := benchKeys(1 << 20)
	m := map[uint64]uint64{}
	for _, k := range keys {
		m[k] = k
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	i := 0
	for b.Loop() {
		v, _ := m[keys[i&(1<<20-1)]]
		sinkU += v
		i++
	}
}
