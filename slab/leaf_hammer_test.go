package slab

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/race"
)

// TestHammerLeaves has 64 goroutines replace objects, each with its own stamp in it, and hand some to others, while the
// collector runs, GOMAXPROCS changes, free memory is purged, and locked threads come and end. A slot that two have at
// the same time has the stamp of one of them only. Without go:nosplit on the leaves it fails within seconds.
func TestHammerLeaves(t *testing.T) {
	h := open(t, Config{})
	p, err := OpenPool[[6]uint64](Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	each := rounds(3000)
	if race.Enabled { // there are no leaves, and each operation takes a hundred times as long
		each = 30
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(6))
	shared := make(chan []byte, 256)
	var workers, others sync.WaitGroup
	for g := range 64 {
		workers.Go(func() { hammerLeaves(t, h, p, shared, uint64(g), each) })
	}
	done := make(chan struct{})
	background := func(f func(n int)) {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
					f(n)
				}
			}
		})
	}
	background(func(int) { runtime.GC() })
	background(func(n int) { runtime.GOMAXPROCS(1 + n%8); runtime.Gosched() })
	background(func(int) {
		if err := h.Purge(); err != nil {
			t.Error(err)
		}
		runtime.Gosched()
	})
	background(func(n int) {
		var one sync.WaitGroup
		one.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			hammerLeaves(t, h, p, shared, uint64(1000+n), 1)
		})
		one.Wait()
	})
	workers.Wait()
	close(done)
	others.Wait()
	close(shared)
	for b := range shared {
		h.Free(b)
	}
	if err := h.Purge(); err != nil {
		t.Fatal(err)
	}
	h.check()
	p.heap.check()
	if s := h.Stats(); s.Live != 0 || s.Cached != 0 || p.Len() != 0 {
		t.Errorf("after all was freed: %+v, and %d in the pool", s, p.Len())
	}
}

// hammerLeaves replaces objects at random, and hands some of them over.
func hammerLeaves(t *testing.T, h *Heap, p *Pool[[6]uint64], shared chan []byte, g uint64, rounds int) {
	r := rand.New(rand.NewPCG(g, 1))
	var live [100][]byte
	var objects [100]*[6]uint64
	check := func(b []byte) bool {
		want := binary.LittleEndian.Uint64(b)
		for k := 8; k+8 <= len(b); k += 8 {
			if binary.LittleEndian.Uint64(b[k:]) != want {
				t.Errorf("object of %d bytes: %#x at %d, %#x at its start", len(b), binary.LittleEndian.Uint64(b[k:]), k, want)
				return false
			}
		}
		return true
	}
	for n := range rounds {
		for range 200 {
			i := r.IntN(len(live))
			stamp := g<<32 | uint64(i)<<16 | uint64(n)&0xffff
			if b := live[i]; b != nil {
				if !check(b) {
					return
				}
				h.Free(b)
			}
			b := h.AllocDirty(8+r.IntN(40)*8, 8)
			for k := 0; k+8 <= len(b); k += 8 {
				binary.LittleEndian.PutUint64(b[k:], stamp)
			}
			live[i] = b
			if x := objects[i]; x != nil {
				if *x != [6]uint64{x[0], x[0], x[0], x[0], x[0], x[0]} {
					t.Errorf("object of the pool: %#x", *x)
					return
				}
				p.Put(x)
			}
			x := p.Get()
			if *x != [6]uint64{} {
				t.Errorf("a new object of the pool is not zero: %#x", *x)
				return
			}
			*x = [6]uint64{stamp, stamp, stamp, stamp, stamp, stamp}
			objects[i] = x
		}
		select {
		case shared <- live[0]:
			live[0] = nil
		case b := <-shared:
			if b != nil {
				check(b)
				h.Free(b)
			}
		default:
		}
	}
	for i := range live {
		h.Free(live[i])
		p.Put(objects[i])
	}
}
