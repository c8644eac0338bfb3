package slab

import (
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// freeTwice lets two free one object as if it had been at the same moment: both get through.
func freeTwice(h *Heap, b []byte, one, two func([]byte)) {
	_, it, _ := h.slots.Live(addr(b))
	one(b)
	s := h.slots.State(it.State())
	*s = s.Claimed() // as the other saw it
	two(b)
}

func expectFreedTwice(t *testing.T, f func()) {
	t.Helper()
	if v := violationOf(t, f); v == nil || v.Kind != guard.DoubleFree || v.Detail != "by two goroutines at the same time" {
		t.Fatalf("panics with %v", v)
	}
}

// TestFreedTwiceIsTheViolationOnce frees an object twice at the same moment, and takes it out of the caches in
// every possible way: the second time is a violation, and the heap is as good as before.
func TestFreedTwiceIsTheViolationOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that all lies in one cache
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	purge := func(h *Heap) {
		if err := h.Purge(); err != nil {
			t.Error(err)
		}
	}
	fullMagazines := func(h *Heap, free func([]byte)) {
		var all [][]byte
		for range 2 * sizeclass.MostCached {
			all = append(all, h.Alloc(100, 8))
		}
		for _, b := range all {
			free(b)
		}
	}
	for name, play := range map[string]func(t *testing.T, h *Heap, b []byte){
		"purge": func(t *testing.T, h *Heap, b []byte) {
			freeTwice(h, b, h.Free, h.Free)
			expectFreedTwice(t, func() { purge(h) })
		},
		"decay": func(t *testing.T, h *Heap, b []byte) {
			for size := 1000; size < 4000; size += 500 { // so that there is enough to stop the world for
				for _, b := range allocMany(h, 300, size) {
					h.Free(b)
				}
			}
			freeTwice(h, b, h.Free, h.Free)
			now += 2 * decayAfter
			expectFreedTwice(t, func() { h.Alloc(900_000, 8) })
		},
		"a batch": func(t *testing.T, h *Heap, b []byte) {
			one, two := h.Local(), h.Local()
			freeTwice(h, b, one.Free, two.Free)
			fullMagazines(h, one.Free)
			fullMagazines(h, two.Free)
			expectFreedTwice(t, func() { purge(h) })
			if one.Close() != nil || two.Close() != nil {
				t.Error("not closed")
			}
		},
		"the end of a Local": func(t *testing.T, h *Heap, b []byte) {
			one, two := h.Local(), h.Local()
			freeTwice(h, b, one.Free, two.Free)
			if err := one.Close(); err != nil {
				t.Error(err)
			}
			expectFreedTwice(t, func() { two.Close() })
			if err := two.Close(); !errors.Is(err, guard.ErrClosed) {
				t.Errorf("it is still open: %v", err)
			}
		},
		"a Local's pause": func(t *testing.T, h *Heap, b []byte) {
			l := h.Local()
			freeTwice(h, b, l.Free, l.Free)
			now += 2 * decayAfter
			expectFreedTwice(t, func() { l.Alloc(30_000, 8) })
		},
		"no memory": func(t *testing.T, h *Heap, b []byte) {
			freeTwice(h, b, h.Free, h.Free)
			now += decay.Beat
			expectFreedTwice(t, func() { h.TryAlloc(65<<20, 8) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{Limit: 64 << 20})
			b := h.Alloc(100, 8)
			other := h.Alloc(5000, 8)
			h.Free(h.Alloc(6000, 8)) // cached, and in a cache that comes later
			play(t, h, b)
			h.Free(other)
			purge(h)
			h.check()
			h.Free(h.Alloc(100, 8))
			purge(h)
			if s := h.Stats(); s.Live != 0 || s.Cached != 0 || s.Free != 0 {
				t.Errorf("after all was freed: %+v", s)
			}
		})
	}
}

// TestFreedTwiceInAHardenedHeap frees an object while another does: one of them is refused, at once.
func TestFreedTwiceInAHardenedHeap(t *testing.T) {
	h := open(t, Config{Hardened: true})
	b := h.Alloc(100, 8)
	c, it, one := h.retire(addr(b))
	if _, _, two := h.retire(addr(b)); !one || two {
		t.Fatal("one of two must succeed")
	}
	raise(h.client().give(c, it))
	if s := h.Stats(); s.Live != 0 {
		t.Errorf("%+v", s)
	}
}

// TestFreedTwiceOutlivesItsSlab frees an object twice at the same moment, and gives its slab and
// the states of that to objects of another size: none of them is handed out once more.
func TestFreedTwiceOutlivesItsSlab(t *testing.T) {
	for name, leave := range map[string]func(h *Heap, l *Local){
		"Alloc": func(h *Heap, l *Local) { l.client().get(200, 8) }, // its fast path does not notice
		"Close": func(h *Heap, l *Local) { l.Close() },
		"Purge": func(h *Heap, l *Local) { h.caches.Set(0, &l.cache); defer h.caches.Set(0, nil); h.Purge() },
	} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			h := open(t, Config{})
			one, two, three := h.Local(), h.Local(), h.Local()
			var all [][]byte
			for range 10 {
				all = append(all, one.Alloc(200, 8))
			}
			_, it, _ := h.slots.Live(addr(all[1]))
			freeTwice(h, all[1], one.Free, two.Free)
			for i, b := range all {
				if i != 1 { // in whose block a slot of 224 bytes starts, too
					one.Free(b)
				}
			}
			if err := errors.Join(one.Close(), h.Purge()); err != nil {
				t.Fatal(err)
			}
			cached := false
			for range sizeclass.Table[sizeclass.Of(220)].Slots {
				b := three.Alloc(220, 8)
				if _, x, _ := h.slots.Live(addr(b)); x.State() == it.State() && x.Offset() != it.Offset() {
					three.Free(b)
					cached = true
					break
				}
			}
			if !cached {
				t.Fatal("the test is wrong: the states were not used again")
			}
			expectFreedTwice(t, func() { leave(h, two) })
			h.check()
		})
	}
}

// TestPutTwiceKeepsHandlesGood puts an object twice at the same moment: the handles of the object that has its
// place later are as good as any.
func TestPutTwiceKeepsHandlesGood(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the place comes next
	p := poolFor[order](t, Config{})
	x := p.Get()
	_, it, _ := p.heap.slots.Live(unsafe.Pointer(x))
	p.Put(x)
	s := p.heap.slots.State(it.State())
	*s = s.Claimed() // as the other saw it
	p.Put(x)
	y := p.Get()
	if y != x {
		t.Fatal("the test is wrong")
	}
	expectFreedTwice(t, func() { p.Get() })
	if z, ok := HandleOf(p, y).Deref(p); !ok || z != y {
		t.Error("its handle is refused")
	}
	p.Put(y)
}
