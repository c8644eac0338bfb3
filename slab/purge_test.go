package slab

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// allocMany allocates a number of objects of a size.
func allocMany(h *Heap, n, size int) (all [][]byte) {
	for range n {
		b := h.AllocDirty(size, 8)
		for i := 0; i < size; i += 1 << 10 {
			b[i] = 1
		}
		all = append(all, b)
	}
	return all
}

// TestDecay frees everything and waits: memory goes back when somebody takes the slow path.
func TestDecay(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{})
	var all [][]byte
	for _, size := range []int{16, 64, 500, 3000, 20_000, 300_000} {
		all = append(all, allocMany(h, 8<<20/size, size)...)
	}
	full := h.Stats()
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, b := range all { // so that every slot that is cached keeps a slab
		h.Free(b)
	}
	if s := h.Stats(); s.Live != 0 || s.Committed < full.Committed {
		t.Fatalf("free at once: %+v", s)
	}
	now += 2 * decayAfter
	h.Free(h.AllocDirty(700_000, 8)) // not cached, so this is the slow path
	s := h.Stats()
	if s.Committed > 2<<20 || resident(t, h) > 2<<20 {
		t.Errorf("after a while: %+v", s)
	}
	h.check()
}

// TestPurgeTakesFromProcessors checks that Purge reaches what other processors hold.
func TestPurgeTakesFromProcessors(t *testing.T) {
	h := open(t, Config{})
	for _, b := range allocMany(h, 1000, 64) {
		h.Free(b)
	}
	here := runtime.GOMAXPROCS(0)
	for i := range here { // as if it had been another processor
		h.caches.Set(i+500, h.caches.Set(i, nil))
	}
	if s := h.Stats(); s.Cached == 0 {
		t.Fatal("nothing is cached: the test is wrong")
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Cached != 0 || s.Free != 0 || h.region.Committed() != 0 {
		t.Errorf("after Purge: %+v", s)
	}
}
