package cache

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestModel(t *testing.T) {
	for _, limit := range []int{0, 1 << 20, 16 << 20, 64 << 20} {
		c, err := Open(Config{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		model := map[string]string{}
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 100_000 {
			k := fmt.Sprint("key", r.IntN(50_000))
			switch r.IntN(4) {
			case 0, 1:
				v := string(make([]byte, r.IntN(300))) + fmt.Sprint(i)
				if r.IntN(2000) == 0 {
					v += string(make([]byte, 40_000))
				}
				if err := c.Set([]byte(k), []byte(v)); err != nil {
					t.Fatal(i, err)
				}
				model[k] = v
			case 2:
				_, had := model[k]
				if got := c.Delete([]byte(k)); got != had && limit == 0 || got && !had {
					t.Fatal("delete", k, got, had)
				}
				delete(model, k)
			case 3:
				v, ok := c.Get(nil, []byte(k))
				want, had := model[k]
				if ok && string(v) != want || ok && !had || had && !ok && limit == 0 {
					t.Fatal("get", k, ok, had)
				}
			}
			if i%50000 == 0 {
				c.check()
				if st := c.heap.Stats(); limit > 0 && st.Committed > int64(limit) {
					t.Log(limit, "committed", st.Committed)
				}
			}
		}
		c.check()
		t.Log(limit, c.Len(), len(model), c.heap.Stats().Committed)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func benchCache(b *testing.B, limit int) (*Cache, [][]byte) {
	c, err := Open(Config{Limit: limit})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	const n = 1 << 20
	keys := make([][]byte, n)
	all := make([]byte, n*16)
	v := make([]byte, 100)
	for i := range keys {
		keys[i] = all[i*16 : i*16+16 : i*16+16]
		binary.LittleEndian.PutUint64(keys[i], uint64(i)*0x9e3779b97f4a7c15)
		if err := c.Set(keys[i], v); err != nil {
			b.Fatal(err)
		}
	}
	return c, keys
}

func BenchmarkGet(b *testing.B) {
	c, keys := benchCache(b, 0)
	st := c.heap.Stats()
	var buf []byte
	b.ReportMetric(float64(st.Committed)/float64(len(keys)*116), "committed/payload")
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		buf, _ = c.Get(buf[:0], keys[r.Uint32()&(1<<20-1)])
	}
}

func BenchmarkSet(b *testing.B) {
	c, keys := benchCache(b, 0)
	v := make([]byte, 100)
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		c.Set(keys[r.Uint32()&(1<<20-1)], v)
	}
}

func BenchmarkSetAtLimit(b *testing.B) {
	c, keys := benchCache(b, 64<<20)
	v := make([]byte, 100)
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		c.Set(keys[r.Uint32()&(1<<20-1)], v)
	}
}
