package slab

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkRef shows what references cost: each iteration allocates and frees an object of 64 bytes, and does besides
// what its name says. Replaced objects are one of 1000 each.
func BenchmarkRef(b *testing.B) {
	h := open(b, Config{})
	x := h.Alloc(64, 8)
	r := h.Ref(x)
	for name, f := range map[string]func(){
		"pair":           func() { h.Free(h.AllocDirty(64, 8)) },
		"pair and Ref":   func() { x := h.AllocDirty(64, 8); h.Ref(x); h.Free(x) },
		"Ref again":      func() { h.Ref(x) },
		"Bytes":          func() { refSink = h.Bytes(r) },
		"large Bytes":    nil,
		"Local pair":     nil,
		"Local pair Ref": nil,
	} {
		b.Run(name, func(b *testing.B) {
			f := f
			switch name {
			case "large Bytes":
				x := h.Alloc(2<<20, 8)
				r := h.Ref(x)
				defer h.Free(x)
				f = func() { refSink = h.Bytes(r) }
			case "Local pair":
				l := h.Local()
				defer l.Close()
				f = func() { l.Free(l.AllocDirty(64, 8)) }
			case "Local pair Ref":
				l := h.Local()
				defer l.Close()
				f = func() { x := l.AllocDirty(64, 8); h.Ref(x); l.Free(x) }
			}
			for b.Loop() {
				f()
			}
		})
	}
	h.Free(x)
}

// BenchmarkRefRandom follows references in no order: to 1,000 and to a million objects.
func BenchmarkRefRandom(b *testing.B) {
	for name, n := range map[string]int{"1k": 1000, "1M": 1_000_000} {
		b.Run(name, func(b *testing.B) {
			h := open(b, Config{})
			refs := make([]Ref, n)
			for i := range refs {
				refs[i] = h.Ref(h.Alloc(64, 8))
			}
			rand.Shuffle(n, func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
			i := 0
			for b.Loop() {
				refSum += h.Bytes(refs[i])[0]
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkReset resets a heap of 16 MiB in objects of 64 bytes.
func BenchmarkReset(b *testing.B) {
	h := open(b, Config{})
	l := h.Local()
	defer l.Close()
	for b.Loop() {
		b.StopTimer()
		for range 16 << 20 / 64 {
			l.AllocDirty(64, 8)
		}
		b.StartTimer()
		h.Reset()
	}
}

var (
	refSink []byte
	refSum  byte
)
