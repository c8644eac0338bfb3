package slab

import (
	"runtime"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestReset frees objects of every kind at once.
func TestReset(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		locals := []*Local{h.Local(), h.Local()}
		var stale []Ref
		for round := range 5 {
			for i := range 2000 {
				size := []int{0, 16, 100, 300, 3000, 20_000}[i%6]
				if i%500 == 0 {
					size = large
				}
				for _, b := range [][]byte{h.Alloc(size, 8), locals[i%2].Alloc(size, 8)} {
					if err := zero(b); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
					fill(b, 0xA5)
					switch i % 5 {
					case 0:
						stale = append(stale, h.Ref(b))
					case 1:
						h.Free(b)
					case 2:
						locals[0].Free(b)
					}
				}
			}
			if round == 3 {
				if err := locals[1].Close(); err != nil {
					t.Fatal(err)
				}
				locals[1] = h.Local()
			}
			h.Reset()
			h.check()
			s := h.Stats()
			if objects, bytes, _ := h.count(); s.Live != 0 || s.Abandoned != 0 || len(s.Classes) != 0 || objects != 0 || bytes != 0 {
				t.Fatalf("round %d: after Reset %d objects of %d bytes: %+v", round, objects, bytes, s)
			}
			for _, r := range stale {
				if _, ok := h.TryBytes(r); ok {
					t.Fatalf("round %d: a reference outlives Reset", round)
				}
			}
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		if h.region.Committed() != 0 || h.account.Bytes() != 0 {
			t.Errorf("%d bytes are committed, %d charged", h.region.Committed(), h.account.Bytes())
		}
		for _, l := range locals {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		h.check()
	})
}

// TestResetMisuse frees an object of before a Reset.
func TestResetMisuse(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		for _, size := range []int{100, large} {
			b := h.Alloc(size, 8)
			h.Reset()
			if v := violationOf(t, func() { h.Free(b) }); v == nil || v.Kind != guard.DoubleFree {
				t.Errorf("Free after Reset of %d bytes: %v", size, v)
			}
		}
	})
}

// TestResetOverrun resets a hardened heap in which an object was overrun: it stays as it is until that is undone.
func TestResetOverrun(t *testing.T) {
	h := open(t, Config{Hardened: true})
	for _, size := range []int{0, 1, 100, 3000, large - 3} {
		b, r := h.Alloc(size, 8), Ref{}
		if size > 0 {
			poke(b, size, 1)
			r = h.Ref(b)
			if v := violationOf(t, h.Reset); v == nil || v.Op != "slab.Reset" || v.Kind != guard.Overrun {
				t.Errorf("Reset with an overrun object of %d bytes: %v", size, v)
			}
			if _, ok := h.TryBytes(r); !ok || h.Size(b) != size {
				t.Errorf("the overrun object of %d bytes is gone", size)
			}
			poke(b, size, 1)
		}
		h.Reset()
		h.check()
	}
}

// TestResetAbandoned resets a hardened heap that has abandoned a slot, because it was written to after it was freed.
func TestResetAbandoned(t *testing.T) {
	h := open(t, Config{Hardened: true})
	b := h.Alloc(100, 8)
	h.Free(b)
	b[0] ^= 1
	for range 100_000 {
		if panicOf(func() { h.Free(h.Alloc(100, 8)) }) != nil {
			break
		}
	}
	if h.Stats().Abandoned == 0 {
		t.Fatal("nothing was abandoned")
	}
	h.Reset()
	h.check()
	if s := h.Stats(); s.Live != 0 || s.Abandoned != 0 {
		t.Errorf("%+v", s)
	}
}

// TestResetDroppedLocal drops a Local, resets the heap before the slots of the Local come back, and uses them.
func TestResetDroppedLocal(t *testing.T) {
	old, err := guard.SetOnLeak(func(guard.Info) {})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.SetOnLeak(old)
	for range rounds(20) {
		h := open(t, Config{})
		func() {
			l := h.Local()
			for range 3 {
				b := l.Alloc(64, 8)
				l.Free(b)
			}
		}()
		h.dropped.mu.Lock() // the finalizer waits
		runtime.GC()
		runtime.Gosched()
		h.dropped.mu.Unlock()
		h.Reset()
		b := h.Alloc(64, 8)
		for range 3 {
			runtime.GC()
			runtime.Gosched()
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		h.check()
		h.Free(b)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResetKeeps shows that the memory of a round serves the next without system calls, and is given back later.
func TestResetKeeps(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{})
	round := func() {
		for range 10_000 {
			h.Alloc(256, 8)
		}
	}
	round()
	committed := h.region.Committed()
	for range 5 {
		h.Reset()
		if got := h.region.Committed(); got != committed {
			t.Fatalf("%d bytes are committed after Reset, %d before", got, committed)
		}
		round()
	}
	h.Reset()
	for range 20 {
		now += decayAfter
		for range 200 {
			h.Free(h.Alloc(20_000, 8)) // on slow paths
		}
	}
	if got := h.region.Committed(); got > committed/2 {
		t.Errorf("%d bytes are committed after a pause, %d before", got, committed)
	}
}
