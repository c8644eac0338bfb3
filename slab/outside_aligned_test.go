package slab

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideAlignedTakesWhatIsAsked allocates small objects with large alignments: they commit the size that
// was asked for, in whole OS pages.
func TestOutsideAlignedTakesWhatIsAsked(t *testing.T) {
	page := guard.PageSize()
	for name, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, c)
			h.Free(h.Alloc(1, 1<<20))
			before := h.Stats()
			var all [][]byte
			asked, pages := 0, 0
			for i, size := range []int{1, 100, 4096, 5000, 70_000, 1<<20 - 5, 1 << 20, 1<<20 + 1, 3<<20 + 7} {
				for _, align := range []int{128 << 10, 512 << 10, 1 << 20} {
					b := h.Alloc(size, align)
					if address(b)%uintptr(align) != 0 || len(b) != size {
						t.Fatalf("%d bytes at %#x for %d aligned to %d", len(b), address(b), size, align)
					}
					want := alignUp(size, page)
					if c.Hardened {
						want = size
					}
					if h.Size(b) != want || cap(b) != want {
						t.Errorf("%d bytes aligned to %d: Size is %d, the capacity %d, want %d", size, align, h.Size(b), cap(b), want)
					}
					for at := range b {
						if b[at] != 0 {
							t.Fatalf("byte %d of %d is %d", at, size, b[at])
						}
						b[at] = byte(i) + 1
					}
					asked += size
					pages += alignUp(size, page)
					all = append(all, b)
				}
			}
			s := h.Stats()
			if got := int(s.Live - before.Live); got != pages {
				t.Errorf("%d bytes were asked for, on OS pages of %d, and %d are live", asked, pages, got)
			}
			if got := int(s.Waste - before.Waste); got != pages-asked {
				t.Errorf("Waste is %d, want %d", got, pages-asked)
			}
			if got := int(s.Committed - before.Committed); got > pages+page {
				t.Errorf("%d bytes were asked for, on OS pages of %d, and %d are committed", asked, pages, got)
			}
			for i, b := range all {
				want := byte(i/3) + 1
				for _, size := range []int{len(b) + 10, len(b) + 100_000, 2<<20 + 5, 7 << 20, 2 << 20, 5000, 10} {
					had := len(b)
					b = h.Realloc(b, size)
					if len(b) != size || b[0] != want || b[min(had, size)-1] != want || h.Size(b) < size {
						t.Fatalf("an object of %d bytes has other contents at %d", had, size)
					}
					for at := had; at < size; at++ {
						if b[at] != 0 {
							t.Fatalf("byte %d is new and %d", at, b[at])
						}
						b[at] = want
					}
				}
				h.Free(b)
			}
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			if s := h.Stats(); s.Live != 0 || s.Waste != 0 || h.account.Bytes() != 0 || s.Committed != h.slots.Region().Committed() {
				t.Errorf("after all: %+v", s)
			}
		})
	}
}

// TestOutsideAlignedAtLimit allocates aligned objects up to a Limit of as much as they take.
func TestOutsideAlignedAtLimit(t *testing.T) {
	h := open(t, Config{Limit: 64 * 4096})
	for i := range 64 * 4096 / guard.PageSize() {
		if _, err := h.TryAlloc(guard.PageSize(), 128<<10); err != nil {
			t.Fatalf("object %d: %v", i, err)
		}
	}
	if _, err := h.TryAlloc(1, 128<<10); err == nil {
		t.Error("the Limit does not hold")
	}
}

// TestOutsideLargeWaste reports what the last OS pages of large objects waste, when they change, too.
func TestOutsideLargeWaste(t *testing.T) {
	h := open(t, Config{})
	page := guard.PageSize()
	b := h.Alloc(2<<20+1, 8)
	for _, size := range []int{2<<20 + 1, 2<<20 + 5, 3<<20 + 7, 3<<20 - 9, 9<<20 + 1, 8 << 20, 8<<20 - 100} {
		b = h.Realloc(b, size)
		if got, room := h.Stats().Waste, h.Size(b); got != int64(room-size) || size > 3<<20 && room%page != 0 {
			t.Errorf("an object of %d bytes with room for %d: Waste is %d", size, room, got)
		}
	}
	h.Free(b)
	if s := h.Stats(); s.Waste != 0 || s.Live != 0 {
		t.Errorf("%+v", s)
	}
}
