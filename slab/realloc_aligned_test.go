package slab

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// TestReallocAligned resizes objects with alignments, in every mode and direction: the result is aligned, keeps its
// bytes, and shows no old ones, also when it shrinks in place and grows again.
func TestReallocAligned(t *testing.T) {
	sizes := []int{100, 90, 0, 1, 64, 1000, 990, 1010, 70_000, 300_000, 290_000, 1<<20 - 5, 1<<20 + 1, 1<<20 + 5000, 3 << 20, 3<<20 - 100, 3<<20 - 9000, 5 << 20, 2 << 20, 100}
	for _, mode := range []string{"plain", "hardened", "sampled"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "sampled" {
				sampleOneIn(t, 1)
			}
			h := openPlain(t, Config{Reserve: 64 << 20, Hardened: mode == "hardened"})
			for align := 1; align <= maxAlign; align *= 4 {
				var b []byte
				old := 0 // bytes that are 0xA5
				for _, size := range sizes {
					was := len(b)
					b = h.ReallocAligned(b, size, align)
					what := fmt.Sprintf("aligned to %d, from %d to %d", align, was, size)
					if address(b)%uintptr(max(align, sizeclass.Granule)) != 0 {
						t.Fatalf("%s: at %p", what, b)
					}
					old = min(old, size)
					expectReallocated(t, h, what, b, old, size)
					for i := range b[:cap(b)] {
						b[:cap(b)][i] = 0xA5 // the capacity is the user's, too
					}
					old = size
				}
				h.Free(b)
			}
			if s := h.Stats(); s.Live != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestReallocAlignedStays checks which objects stay in their places: those that are aligned already, and have room.
func TestReallocAlignedStays(t *testing.T) {
	h := open(t, Config{Reserve: 64 << 20})
	for _, c := range []struct{ size, align, to int }{{100, 64, 70}, {64, 64, 60}, {4096, 4096, 3000}, {2 << 20, 1 << 20, 2<<20 - 1}, {3 << 20, 64, 2 << 20}} {
		b := h.Alloc(c.size, c.align)
		if again := h.ReallocAligned(b, c.to, c.align); addr(again) != addr(b) {
			t.Errorf("%+v: it moved", c)
		} else {
			h.Free(again)
		}
	}
	// Of two objects of 16 bytes that lie beside each other one is not aligned to 32.
	a, b := h.Alloc(16, 16), h.Alloc(16, 16)
	if address(a)%32 == 0 {
		a, b = b, a
	}
	if address(a)%32 == 0 {
		t.Fatal("the test is wrong")
	}
	a[15] = 7
	moved := h.ReallocAligned(a, 16, 32)
	if addr(moved) == addr(a) || address(moved)%32 != 0 || moved[15] != 7 {
		t.Errorf("%p became %p", a, moved)
	}
	if v := violationOf(t, func() { h.Free(a) }); v == nil {
		t.Error("the old object was not freed")
	}
	h.Free(b)
	h.Free(moved)
}

// TestReallocAlignedMovesByTheKernel grows a large object that is aligned to 1 MiB: it is moved without a copy, to a
// place that has the alignment, though addresses are so short that the new region is not twice as long.
func TestReallocAlignedMovesByTheKernel(t *testing.T) {
	h := open(t, Config{Reserve: 64 << 20})
	for range 5 {
		b := h.Alloc(1<<20+1, 1<<20)
		b[0], b[1<<20] = 1, 2
		for _, size := range []int{2<<20 + 1, 5 << 20, 17 << 20} {
			stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
			again, err := h.TryReallocAligned(b, size, 1<<20)
			stop()
			if err != nil {
				t.Fatal(err)
			}
			if b = again; address(b)%(1<<20) != 0 || b[0] != 1 || b[1<<20] != 2 || b[size-1] != 0 {
				t.Errorf("%d bytes: %p", size, b)
			}
		}
		h.Free(b)
	}
}

// TestReallocAlignedMisuse passes what Alloc refuses, and objects of others: they are as they were.
func TestReallocAlignedMisuse(t *testing.T) {
	for _, hardened := range []bool{false, true} {
		h := open(t, Config{Reserve: 64 << 20, Hardened: hardened})
		other, err := Open(Config{Reserve: 64 << 20, Hardened: hardened})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{100, 2 << 20} {
			b := h.Alloc(size, 64)
			b[0], b[size-1] = 1, 2
			for _, align := range []int{0, -1, 3, 48, 2 << 20, math.MinInt} {
				for _, x := range [][]byte{b, nil} {
					out, err := h.TryReallocAligned(x, size, align)
					if err == nil || errors.Is(err, guard.ErrNoMemory) || out != nil {
						t.Errorf("aligned to %d: %v", align, err)
					}
				}
				if err, _ := panicOf(func() { h.ReallocAligned(b, size, align) }).(error); err == nil {
					t.Errorf("aligned to %d: no panic with an error", align)
				}
			}
			if _, err := h.TryReallocAligned(b, -1, 64); err == nil || errors.Is(err, guard.ErrNoMemory) {
				t.Errorf("-1 bytes: %v", err)
			}
			if v := violationOf(t, func() { other.ReallocAligned(b, size, 64) }); v == nil || v.Op != "slab.Realloc" || v.Kind != guard.InvalidPointer {
				t.Errorf("another heap: %v", v)
			}
			if v := violationOf(t, func() { h.ReallocAligned(b[16:], 8, 64) }); v == nil || v.Kind != guard.InvalidPointer {
				t.Errorf("from the middle: %v", v)
			}
			if b[0] != 1 || b[size-1] != 2 || h.Size(b) < size {
				t.Error("it has changed")
			}
			h.Free(b)
			if v := violationOf(t, func() { h.ReallocAligned(b, size, 64) }); v == nil || v.Kind != guard.UseAfterFree {
				t.Errorf("after Free: %v", v)
			}
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}
