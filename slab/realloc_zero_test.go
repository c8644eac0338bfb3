package slab

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideReallocShowsNothingOld reallocates objects that are full of old bytes, in every way, and looks
// at all that the capacity gives.
func TestOutsideReallocShowsNothingOld(t *testing.T) {
	page := guard.PageSize()
	large := 2 << 20
	for _, mode := range []string{"plain", "hardened", "sampled"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "sampled" {
				sampleOneIn(t, 1)
			}
			h := openPlain(t, Config{Hardened: mode == "hardened"})
			for _, c := range []struct {
				name     string
				from, to int
			}{
				{"shrink in place", 100, 60},
				{"shrink by a byte", 100, 99},
				{"the same size", 100, 100},
				{"to nothing", 10, 0},
				{"grow in place", 100, 110},
				{"shrink elsewhere", 1000, 100},
				{"grow elsewhere", 100, 1000},
				{"a large one by less than an OS page", large, large - 100},
				{"a large one by OS pages", large + 3*page, large + page + 1},
				{"a large one, the same size", large + 1, large + 1},
				{"a large one grows", large + 100, large + 200},
				{"a large one grows by OS pages", large + 100, large + 5*page},
				{"a large one to less than half", 3 * large, large + 100},
				{"a large one moves", large + 100, 3 * large},
				{"from large to a slot", large, 1000},
				{"from a slot to large", 1000, large + 100},
			} {
				for _, whole := range []bool{false, true} { // what append wrote into the capacity is old, too
					what := fmt.Sprintf("%s, %d to %d, capacity written to: %v", c.name, c.from, c.to, whole)
					b := h.Alloc(c.from, 8)
					old := b
					if whole {
						old = b[:cap(b)]
					}
					for i := range old {
						old[i] = 0xA5
					}
					out := h.Realloc(b, c.to)
					expectReallocated(t, h, what, out, min(c.from, c.to), c.to)
					// Again in its place, up to the old length.
					for _, size := range []int{c.to + 1, c.to + c.to/8, c.to + 1} {
						n := len(out)
						out = h.Realloc(out, size)
						expectReallocated(t, h, fmt.Sprintf("%s, and then from %d to %d", what, n, size), out, min(c.from, c.to), size)
					}
					h.Free(out)
				}
			}
		})
	}
}

// expectReallocated wants the old bytes, 0xA5, at the start, and zeroes up to the capacity.
func expectReallocated(t *testing.T, h *Heap, what string, b []byte, old, size int) {
	t.Helper()
	if len(b) != size || cap(b) > h.Size(b) {
		t.Fatalf("%s: length %d, capacity %d, Size %d", what, len(b), cap(b), h.Size(b))
	}
	if n := bytes.Count(b[:old], []byte{0xA5}); n != old {
		t.Fatalf("%s: %d of %d bytes are kept", what, n, old)
	}
	if n := bytes.Count(b[old:cap(b)], []byte{0}); n != cap(b)-old {
		t.Fatalf("%s: %d bytes behind the first %d are not zero", what, cap(b)-old-n, old)
	}
}

// TestOutsideReallocUsesItsRoom grows an object that was shrunk: it stays in its place, although its capacity
// had been cut, and has the size of its slot as capacity again.
func TestOutsideReallocUsesItsRoom(t *testing.T) {
	h := open(t, Config{})
	b := h.Alloc(100, 8)
	room := cap(b)
	small := h.Realloc(b, 60)
	if addr(small) != addr(b) || cap(small) != 60 {
		t.Errorf("60 bytes of 100: capacity %d", cap(small))
	}
	if again := h.Realloc(small, 61); addr(again) != addr(b) || cap(again) != room {
		t.Errorf("61 bytes: capacity %d, want %d", cap(again), room)
	}
}
