package cache

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
)

// million opens a cache with 2^20 entries of 16 and 100 bytes.
func million(b *testing.B, limit int) (c *Cache, keys [][]byte) {
	c, err := Open(Config{Limit: limit})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	const n = 1 << 20
	keys = make([][]byte, n)
	all := make([]byte, n*16)
	value := make([]byte, 100)
	for i := range keys {
		keys[i] = all[i*16 : i*16+16 : i*16+16]
		binary.LittleEndian.PutUint64(keys[i], uint64(i)*0x9e3779b97f4a7c15)
		if err := c.Set(keys[i], value); err != nil {
			b.Fatal(err)
		}
	}
	return c, keys
}

func BenchmarkGet(b *testing.B) {
	c, keys := million(b, 0)
	var dst []byte
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		dst, _ = c.Get(dst[:0], keys[r.Uint32()%uint32(len(keys))])
	}
	st := c.Stats()
	b.ReportMetric(float64(st.Committed)/float64(len(keys)*116), "committed/payload")
}

func BenchmarkSet(b *testing.B) {
	for _, of := range []struct {
		name  string
		limit int
	}{{"replace", 0}, {"evict", 64 << 20}} {
		b.Run(of.name, func(b *testing.B) {
			c, keys := million(b, of.limit)
			value := make([]byte, 100)
			r := rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				_ = c.Set(keys[r.Uint32()%uint32(len(keys))], value)
			}
		})
	}
}

func BenchmarkWriteTo(b *testing.B) {
	c, _ := million(b, 0)
	for b.Loop() {
		n, err := c.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

func BenchmarkReadFrom(b *testing.B) {
	c, _ := million(b, 0)
	var snapshot bytes.Buffer
	if _, err := c.WriteTo(&snapshot); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(snapshot.Len()))
	for b.Loop() {
		b.StopTimer()
		other, err := Open(Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := other.ReadFrom(bytes.NewReader(snapshot.Bytes())); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = other.Close()
		b.StartTimer()
	}
}
