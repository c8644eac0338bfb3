package slab

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// allocMany allocates a number of objects of a size.
func allocMany(h *Heap, n, size int) (all [][]byte) {
	for range n {
		b := h.AllocDirty(size)
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
	now += 2 * decay
	h.Free(h.AllocDirty(700_000)) // not cached, so this is the slow path
	s := h.Stats()
	if s.Committed > 2<<20 || s.Resident > 2<<20 {
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
	for i := range h.fronts.of { // as if it had been another processor
		if f := h.fronts.of[i].Swap(nil); f != nil {
			h.fronts.of[(i+500)%mostProcessors].Store(f)
		}
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

// TestFail lets every system call fail once, at every place of a history.
func TestFail(t *testing.T) {
	everyCallFails(t, Config{Reserve: 256 << 20}, 3, 10, 100, 5000, 60_000, 900_000, 3<<20)
}

func TestFailHardened(t *testing.T) {
	everyCallFails(t, Config{Reserve: 256 << 20, Hardened: true}, 1, 10, 5000, 1<<20)
}

// everyCallFails makes and frees objects of some sizes, a few of each.
func everyCallFails(t *testing.T, c Config, each int, sizes ...int) {
	history := func(h *Heap) (errs []error) {
		note := func(err error) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		var all [][]byte
		for _, size := range sizes {
			for range each {
				b, err := h.TryAlloc(size)
				note(err)
				if err == nil {
					if len(b) != size || zero(b) != nil {
						t.Fatalf("%d bytes for %d: %v", len(b), size, zero(b))
					}
					b[0], b[size-1] = 1, 1
					all = append(all, b)
				}
			}
		}
		if len(all) > 0 {
			b, err := h.TryRealloc(all[0], 2<<20)
			note(err)
			if err == nil {
				all[0] = b
			}
		}
		if i, last := len(all)-1, sizes[len(sizes)-1]; i >= 0 && len(all[i]) == last {
			for _, size := range []int{last * 3, last*3 + 1<<20, last + 1<<20, last * 4} { // moves, stays, shrinks, stays
				b, err := h.TryRealloc(all[i], size)
				note(err)
				if err != nil {
					size = len(all[i])
				} else {
					all[i] = b
				}
				if all[i][0] != 1 || all[i][last-1] != 1 || len(all[i]) != size || all[i][size-1] != 0 && size != last {
					t.Fatalf("realloc to %d: %v: other contents", size, err)
				}
			}
		}
		for _, b := range all {
			h.Free(b)
		}
		note(h.Purge())
		h.check()
		return errs
	}
	for kind := range vm.Kinds {
		for nth := 1; ; nth++ {
			before := guard.Usage()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			h, err := Open(c)
			if err == nil {
				for _, err := range history(h) {
					if !errors.Is(err, guard.ErrNoMemory) {
						t.Errorf("%v %d: %v", kind, nth, err)
					}
				}
				calls := stop()
				if err := errors.Join(history(h)...); err != nil {
					t.Errorf("%v %d: the next time: %v", kind, nth, err)
				}
				err = h.Close()
				if err != nil {
					t.Errorf("%v %d: close: %v", kind, nth, err)
				}
				if calls < nth {
					break
				}
			} else if stop(); !errors.Is(err, guard.ErrNoMemory) {
				t.Errorf("%v %d: %v", kind, nth, err)
			}
			after := guard.Usage()
			if after.Regions != before.Regions || after.Committed != before.Committed {
				t.Fatalf("%v %d: before %+v, after %+v", kind, nth, before, after)
			}
		}
	}
}
