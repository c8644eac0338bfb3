package slab

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestLimitCommitted shifts sizes at a Limit on committed memory: it holds at every step, and what is freed serves other sizes.
func TestLimitCommitted(t *testing.T) {
	for _, c := range []Config{{LimitCommitted: true}, {LimitCommitted: true, Limit: 1 << 20, Hardened: true}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
	const limit = 8 << 20
	h, err := Open(Config{Limit: limit, LimitCommitted: true, Reserve: 64 << 20, HugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{64, 5000, 100_000, 3 << 20, 64, 60_000} {
		var all [][]byte
		total := 0
		for {
			b, err := h.TryAllocDirty(size, 1)
			if err != nil {
				if !errors.Is(err, guard.ErrNoMemory) {
					t.Fatal(err)
				}
				break
			}
			all = append(all, b)
			if total += size; len(all)%16 == 0 || size > 10_000 {
				if n := h.Stats().Committed; n > limit {
					t.Fatalf("%d bytes are committed", n)
				}
			}
		}
		if total < limit/2 {
			t.Errorf("only %d objects of %d bytes", len(all), size)
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		h.FreeN(all)
		h.check()
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBase finds an object by its offset.
func TestBase(t *testing.T) {
	h, err := Open(Config{Reserve: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	b := h.Alloc(100, 1)
	off := uintptr(unsafe.Pointer(&b[0])) - uintptr(h.Base())
	if off >= 16<<20 || unsafe.Add(h.Base(), off) != unsafe.Pointer(&b[0]) {
		t.Errorf("an object at offset %d", off)
	}
}
