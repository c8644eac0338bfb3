package table

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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
// insertions did; fill begins with an empty map; follow searches for the value that it found last. bench/maps
// runs the same work in turn, and prints ratios.
func BenchmarkMap(b *testing.B) {
	for _, n := range []int{1000, 1_000_000, 10_000_000} {
		keys := randomKeys(n)
		asked, missed := shuffled(keys), randomKeys(n)
		fillOurs := func(m *Map[uint64, uint64]) {
			for i, k := range keys {
				m.Put(k, keys[(i+1)%n])
			}
		}
		fillTheirs := func(m map[uint64]uint64) {
			for i, k := range keys {
				m[k] = keys[(i+1)%n]
			}
		}
		a := openTest(b, arena.Config{HugePages: true})
		var m *Map[uint64, uint64]
		var g map[uint64]uint64
		// run times f of both sides, with maps that are made when they are needed first.
		run := func(what string, arena, heap func(b *testing.B)) {
			b.Run(fmt.Sprintf("%s/n=%d/arena", what, n), func(b *testing.B) {
				if m == nil {
					m = NewMap[uint64, uint64](a, 0)
					fillOurs(m)
				}
				b.ResetTimer()
				arena(b)
			})
			b.Run(fmt.Sprintf("%s/n=%d/go", what, n), func(b *testing.B) {
				if g == nil {
					g = map[uint64]uint64{}
					fillTheirs(g)
				}
				b.ResetTimer()
				heap(b)
			})
		}
		search := func(what string, keys []uint64) {
			run(what, func(b *testing.B) {
				inTurn(b, keys, func(keys []uint64) {
					for _, k := range keys {
						v, _ := m.Get(k)
						sinkValue += v
					}
				})
			}, func(b *testing.B) {
				inTurn(b, keys, func(keys []uint64) {
					for _, k := range keys {
						sinkValue += g[k]
					}
				})
			})
		}
		search("get", asked)
		search("miss", missed)
		run("follow", func(b *testing.B) {
			k := keys[0]
			for range b.N {
				k, _ = m.Get(k)
			}
			sinkValue += k
		}, func(b *testing.B) {
			k := keys[0]
			for range b.N {
				k = g[k]
			}
			sinkValue += k
		})
		run("all", func(b *testing.B) {
			for done := 0; done < b.N; done += n {
				for k, v := range m.All() {
					sinkValue += k + v
				}
			}
		}, func(b *testing.B) {
			for done := 0; done < b.N; done += n {
				for k, v := range g {
					sinkValue += k + v
				}
			}
		})
		run("put", func(b *testing.B) {
			inTurn(b, asked, func(keys []uint64) {
				for _, k := range keys {
					m.Put(k, 1)
				}
			})
		}, func(b *testing.B) {
			inTurn(b, asked, func(keys []uint64) {
				for _, k := range keys {
					g[k] = 1
				}
			})
		})
		run("churn", func(b *testing.B) {
			inTurn(b, asked, func(keys []uint64) {
				for _, k := range keys {
					m.Delete(k)
					m.Put(k, 1)
				}
			})
		}, func(b *testing.B) {
			inTurn(b, asked, func(keys []uint64) {
				for _, k := range keys {
					delete(g, k)
					g[k] = 1
				}
			})
		})
		a.Close()
		m, g = nil, nil
		for _, hint := range []int{0, n} {
			what := "fill"
			if hint > 0 {
				what = "fill, with a hint"
			}
			b.Run(fmt.Sprintf("%s/n=%d/arena", what, n), func(b *testing.B) {
				a := openTest(b, arena.Config{HugePages: true, Retain: 1 << 30})
				for done := 0; done < b.N; done += n {
					a.Reset()
					fillOurs(NewMap[uint64, uint64](a, hint))
				}
			})
			b.Run(fmt.Sprintf("%s/n=%d/go", what, n), func(b *testing.B) {
				for done := 0; done < b.N; done += n {
					fillTheirs(make(map[uint64]uint64, hint))
				}
			})
		}
	}
}

// shuffled returns a copy in random order.
func shuffled(keys []uint64) []uint64 {
	keys = slices.Clone(keys)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

// inTurn calls f with keys, again and again, until it had b.N of them.
func inTurn(b *testing.B, keys []uint64, f func(keys []uint64)) {
	for done := 0; done < b.N; done += len(keys) {
		f(keys[:min(len(keys), b.N-done)])
	}
}

// BenchmarkMapWide times maps with entries of 116 bytes: nine of ten operations read a value, the tenth writes one.
func BenchmarkMapWide(b *testing.B) {
	type (
		key   = [16]byte
		value = [100]byte
	)
	const n = 1_000_000
	keys := make([]key, n)
	for i := range keys {
		binary.LittleEndian.PutUint64(keys[i][:], rand.Uint64())
	}
	asked := slices.Clone(keys)
	rand.Shuffle(n, func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	b.Run("arena", func(b *testing.B) {
		m := NewMap[key, value](openTest(b, arena.Config{HugePages: true}), n)
		for _, k := range keys {
			m.Put(k, value{1})
		}
		b.ResetTimer()
		for i := range b.N {
			k := asked[i%n]
			if i%10 == 9 {
				m.Put(k, value{2})
				continue
			}
			v, _ := m.Get(k)
			sinkValue += uint64(v[0])
		}
	})
	b.Run("go", func(b *testing.B) {
		m := make(map[key]value, n)
		for _, k := range keys {
			m[k] = value{1}
		}
		b.ResetTimer()
		for i := range b.N {
			k := asked[i%n]
			if i%10 == 9 {
				m[k] = value{2}
				continue
			}
			v := m[k]
			sinkValue += uint64(v[0])
		}
	})
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
