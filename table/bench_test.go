package table

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

func randomKeys(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rand.Uint64()
	}
	return keys
}

var sinkValue uint64

// BenchmarkMap times a Map and Go's map with the same random keys. Searches come in another order than
// insertions did; fill begins with an empty map.
func BenchmarkMap(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		keys := randomKeys(n)
		asked := append([]uint64(nil), keys...)
		rand.Shuffle(n, func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		ours := func(b *testing.B) *Map[uint64, uint64] {
			m := NewMap[uint64, uint64](openTest(b, arena.Config{HugePages: true}), 0)
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
		search := func(what string, keys []uint64) {
			run(what, func(b *testing.B) {
				m := ours(b)
				loop(b, keys, func(k uint64) { v, _ := m.Get(k); sinkValue += v })
			}, func(b *testing.B) {
				m := theirs()
				loop(b, keys, func(k uint64) { sinkValue += m[k] })
			})
		}
		search("get", asked)
		search("miss", randomKeys(n))
		run("put", func(b *testing.B) {
			m := ours(b)
			loop(b, asked, func(k uint64) { m.Put(k, 1) })
		}, func(b *testing.B) {
			m := theirs()
			loop(b, asked, func(k uint64) { m[k] = 1 })
		})
		run("churn", func(b *testing.B) {
			m := ours(b)
			loop(b, asked, func(k uint64) { m.Delete(k); m.Put(k, 1) })
		}, func(b *testing.B) {
			m := theirs()
			loop(b, asked, func(k uint64) { delete(m, k); m[k] = 1 })
		})
		run("all", func(b *testing.B) {
			m := ours(b)
			b.ResetTimer()
			for done := 0; done < b.N; done += n {
				for k, v := range m.All() {
					sinkValue += k + v
				}
			}
		}, func(b *testing.B) {
			m := theirs()
			b.ResetTimer()
			for done := 0; done < b.N; done += n {
				for k, v := range m {
					sinkValue += k + v
				}
			}
		})
		run("fill", func(b *testing.B) {
			a := openTest(b, arena.Config{HugePages: true, Retain: 1 << 30})
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
		run("fill, with a hint", func(b *testing.B) {
			a := openTest(b, arena.Config{HugePages: true, Retain: 1 << 30})
			for done := 0; done < b.N; done += n {
				a.Reset()
				m := NewMap[uint64, uint64](a, n)
				for _, k := range keys {
					m.Put(k, k)
				}
			}
		}, func(b *testing.B) {
			for done := 0; done < b.N; done += n {
				m := make(map[uint64]uint64, n)
				for _, k := range keys {
					m[k] = k
				}
			}
		})
	}
}

// BenchmarkMapStruct is BenchmarkMap/get and /put with a key and a value of several fields.
func BenchmarkMapStruct(b *testing.B) {
	type key struct {
		tenant, kind uint32
		id           uint64
	}
	type value [3]uint64
	const n = 1_000_000
	keys := make([]key, n)
	for i := range keys {
		keys[i] = key{rand.Uint32N(100), rand.Uint32N(10), rand.Uint64()}
	}
	b.Run("arena", func(b *testing.B) {
		a := openTest(b, arena.Config{HugePages: true})
		m := NewMap[key, value](a, n)
		for _, k := range keys {
			m.Put(k, value{})
		}
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		b.ResetTimer()
		for i := range b.N {
			k := keys[i%n]
			v, _ := m.Get(k)
			v[1]++
			m.Put(k, v)
		}
	})
	b.Run("go", func(b *testing.B) {
		m := make(map[key]value, n)
		for _, k := range keys {
			m[k] = value{}
		}
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		b.ResetTimer()
		for i := range b.N {
			k := keys[i%n]
			v := m[k]
			v[1]++
			m[k] = v
		}
	})
}

// BenchmarkStrings times a Strings and Go's map with a million strings of 8 to 24 bytes: searches, and
// filling an empty table with keys most of which come again.
func BenchmarkStrings(b *testing.B) {
	const n = 1_000_000
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%0*d", 8+i%17, rand.Uint32())
	}
	fill := func(m *Strings[uint32]) {
		for _, k := range keys {
			v, _ := m.EntryBytes(k)
			*v++
		}
	}
	b.Run("get/arena", func(b *testing.B) {
		m := NewStrings[uint32](openTest(b, arena.Config{HugePages: true}), 0)
		fill(m)
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		b.ResetTimer()
		for i := range b.N {
			sinkValue += uint64(*m.LookupBytes(keys[i%n]))
		}
	})
	b.Run("get/go", func(b *testing.B) {
		m := map[string]uint32{}
		for _, k := range keys {
			m[string(k)]++
		}
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		b.ResetTimer()
		for i := range b.N {
			sinkValue += uint64(m[string(keys[i%n])])
		}
	})
	b.Run("fill/arena", func(b *testing.B) {
		a := openTest(b, arena.Config{HugePages: true, Retain: 1 << 30})
		for done := 0; done < b.N; done += n {
			a.Reset()
			fill(NewStrings[uint32](a, 0))
		}
	})
	b.Run("fill/go", func(b *testing.B) {
		for done := 0; done < b.N; done += n {
			m := map[string]uint32{}
			for _, k := range keys {
				m[string(k)]++
			}
		}
	})
}

// BenchmarkMapCollect times a forced garbage collection: of an empty program, beside 20 million
// entries in an arena, and beside a million in Go's map.
func BenchmarkMapCollect(b *testing.B) {
	collect := func(b *testing.B) {
		runtime.GC()
		b.ResetTimer()
		for range b.N {
			runtime.GC()
		}
	}
	b.Run("empty", collect)
	b.Run("arena/n=20000000", func(b *testing.B) {
		const n = 20_000_000
		m := NewMap[uint64, uint64](openTest(b, arena.Config{HugePages: true}), n)
		for k := range uint64(n) {
			m.Put(k, k)
		}
		collect(b)
		if m.Len() != n {
			b.Fatal(m.Len())
		}
	})
	b.Run("go/n=1000000", func(b *testing.B) {
		m := map[uint64]*uint64{}
		for k := range uint64(1_000_000) {
			m[k] = &k
		}
		collect(b)
		runtime.KeepAlive(m)
	})
}
