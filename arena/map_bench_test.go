package arena

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func randomKeys(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rand.Uint64()
	}
	return keys
}

var sinkValue uint64

// BenchmarkMap times a Map and Go's map with the same random keys: searches in an order that is not the order of
// insertion, and a map filled from nothing.
func BenchmarkMap(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		keys := randomKeys(n)
		asked := append([]uint64(nil), keys...)
		rand.Shuffle(n, func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		absent := randomKeys(n)
		ours := func(b *testing.B) *Map[uint64, uint64] {
			a, err := Open(Config{HugePages: true})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { a.Close() })
			m := NewMap[uint64, uint64](a, 0)
			for _, k := range keys {
				m.Put(k, k)
			}
			return m
		}
		theirs := func() map[uint64]uint64 {
			m := map[uint64]uint64{}
			for _, k := range keys {
				m[k] = k
			}
			return m
		}
		run := func(what string, arena, heap func(b *testing.B)) {
			b.Run(fmt.Sprintf("%s/n=%d/arena", what, n), arena)
			b.Run(fmt.Sprintf("%s/n=%d/go", what, n), heap)
		}
		loop := func(b *testing.B, keys []uint64, f func(k uint64)) {
			b.ResetTimer()
			for done := 0; done < b.N; done += n {
				for _, k := range keys[:min(n, b.N-done)] {
					f(k)
				}
			}
		}
		run("get", func(b *testing.B) {
			m := ours(b)
			loop(b, asked, func(k uint64) { v, _ := m.Get(k); sinkValue += v })
		}, func(b *testing.B) {
			m := theirs()
			loop(b, asked, func(k uint64) { sinkValue += m[k] })
		})
		run("miss", func(b *testing.B) {
			m := ours(b)
			loop(b, absent, func(k uint64) { v, _ := m.Get(k); sinkValue += v })
		}, func(b *testing.B) {
			m := theirs()
			loop(b, absent, func(k uint64) { sinkValue += m[k] })
		})
		run("put", func(b *testing.B) {
			m := ours(b)
			loop(b, asked, func(k uint64) { m.Put(k, 1) })
		}, func(b *testing.B) {
			m := theirs()
			loop(b, asked, func(k uint64) { m[k] = 1 })
		})
		run("fill", func(b *testing.B) {
			a, err := Open(Config{HugePages: true, Retain: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			defer a.Close()
			for done := 0; done < b.N; done += n {
				a.Reset()
				m := NewMap[uint64, uint64](a, 0)
				for _, k := range keys {
					m.Put(k, k)
				}
			}
		}, func(b *testing.B) {
			for done := 0; done < b.N; done += n {
				theirs()
			}
		})
	}
}
