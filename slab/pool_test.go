package slab

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

type order struct {
	id    uint64
	price [5]uint32
}

func poolFor[T any](t testing.TB, c Config) *Pool[T] {
	t.Helper()
	before := ours()
	p, err := OpenPool[T](c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper()
		if err := p.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
		if after := ours(); after != before {
			t.Errorf("something is left behind:\nbefore %+v\nafter  %+v", before, after)
		}
	})
	return p
}

// TestPoolModel plays a random history: handles of live objects find them, all others are refused for ever,
// whatever memory went back to the system in between.
func TestPoolModel(t *testing.T) {
	p := poolFor[order](t, Config{Reserve: 64 << 20})
	r := rand.New(rand.NewPCG(5, 6))
	live := map[Handle[order]]uint64{}
	var stale []Handle[order]
	next := uint64(0)
	for step := range rounds(200_000) {
		switch {
		case r.IntN(20_000) == 0:
			for h, id := range live {
				if x, ok := h.Deref(p); !ok || x.id != id {
					t.Fatalf("step %d: object %d is lost", step, id)
				} else {
					p.Put(x)
				}
				stale = append(stale, h)
			}
			clear(live)
			if err := p.Purge(); err != nil {
				t.Fatal(err)
			}
		case r.IntN(5) < 3:
			x := p.Get()
			if *x != (order{}) {
				t.Fatalf("step %d: %+v is not zero", step, *x)
			}
			next++
			x.id = next
			h := HandleOf(p, x)
			if h.IsNil() || live[h] != 0 {
				t.Fatalf("step %d: handle %+v", step, h)
			}
			live[h] = next
		default:
			for h, id := range live {
				x, ok := h.Deref(p)
				if !ok || x.id != id || HandleOf(p, x) != h {
					t.Fatalf("step %d: object %d is lost", step, id)
				}
				p.Put(x)
				delete(live, h)
				stale = append(stale, h)
				break
			}
		}
		if len(stale) > 0 {
			if x, ok := stale[r.IntN(len(stale))].Deref(p); ok || x != nil {
				t.Fatalf("step %d: a stale handle was taken", step)
			}
		}
	}
	if n := p.Len(); n != len(live) {
		t.Errorf("%d objects, want %d", n, len(live))
	}
	seen := 0
	for x := range p.All() {
		if live[HandleOf(p, x)] != x.id {
			t.Fatalf("met %d, which is not there", x.id)
		}
		seen++
		p.Put(x)
	}
	if seen != len(live) || p.Len() != 0 {
		t.Errorf("met %d objects of %d, %d are left", seen, len(live), p.Len())
	}
	p.heap.check()
}

// TestPoolIsLIFO checks that Get reuses the place that was put last.
func TestPoolIsLIFO(t *testing.T) {
	p := poolFor[order](t, Config{})
	l := p.Get()
	at := HandleOf(p, l).at
	p.Put(l)
	for range 10 { // the goroutine may move to another processor in between
		x := p.Get()
		same := HandleOf(p, x).at == at
		p.Put(x)
		if same {
			return
		}
		at = HandleOf(p, p.Get()).at
		x, _ = Handle[order]{at, *p.heap.slots.Generation(uintptr(at) * sizeclass.Granule) ^ p.salt}.Deref(p)
		p.Put(x)
	}
	t.Error("the object put back last never came first")
}

// TestForgedHandles asks for objects with handles that no pool gave out.
func TestForgedHandles(t *testing.T) {
	p := poolFor[order](t, Config{Name: "orders"})
	x := p.Get()
	p.Get()
	for _, h := range []Handle[order]{{}, {at: 1 << 31, generation: 1}, {at: 3, generation: 1}, {at: HandleOf(p, x).at, generation: 2}} {
		if z, ok := h.Deref(p); ok || z != nil {
			t.Errorf("%+v names %v", h, z)
		}
	}
}

// TestHammerPool hands handles from goroutine to goroutine.
func TestHammerPool(t *testing.T) {
	p := poolFor[order](t, Config{})
	way := make(chan Handle[order], 64)
	var makers, takers sync.WaitGroup
	for g := range 3 {
		makers.Go(func() {
			for i := range rounds(50_000) {
				x := p.Get()
				x.id = uint64(g)<<32 | uint64(i)
				x.price[4] = uint32(x.id)
				way <- HandleOf(p, x)
			}
		})
		takers.Go(func() {
			for h := range way {
				x, ok := h.Deref(p)
				if !ok || x.price[4] != uint32(x.id) {
					t.Error("an object was lost")
					continue
				}
				p.Put(x)
				if _, ok := h.Deref(p); ok && HandleOf(p, x) == h {
					t.Error("a stale handle was taken")
				}
			}
		})
	}
	makers.Wait()
	close(way)
	takers.Wait()
	if n := p.Len(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	p.heap.check()
}

// TestPoolAllMeetsObjectsOnly puts everything back in the middle of a loop, gives the memory away,
// and gets objects in other places of it.
func TestPoolAllMeetsObjectsOnly(t *testing.T) {
	p := poolFor[[1000]byte](t, Config{})
	var all []*[1000]byte
	for range 128 {
		all = append(all, p.Get())
	}
	second := unsafe.Add(p.heap.region.Base(), unit)
	done := false
	for x := range p.All() {
		if !done && uintptr(unsafe.Pointer(x)) >= uintptr(second) {
			done = true
			for _, y := range all {
				p.Put(y)
			}
			if err := p.Purge(); err != nil {
				t.Fatal(err)
			}
			for range 64 {
				p.Get()
			}
			continue
		}
		HandleOf(p, x) // a violation, if it is none
	}
	if !done {
		t.Error("the test is wrong")
	}
}
