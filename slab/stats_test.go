package slab

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// resident returns how many bytes of a heap are in RAM; -1 where the system does not tell.
func resident(tb testing.TB, h *Heap) int64 {
	tb.Helper()
	n, err := h.Resident()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return -1
	case err != nil:
		tb.Fatal(err)
	}
	return n
}

// TestResident looks at what is in RAM: what was touched, in slots and large objects, and nothing once the heap is
// closed.
func TestResident(t *testing.T) {
	h := open(t, Config{})
	before := resident(t, h)
	if before < 0 {
		t.Skip("the system does not tell")
	}
	const size = 65 << 20 // so long that it has no huge pages
	b := h.Alloc(size, 8)
	b[0], b[size/2] = 1, 1
	if n := resident(t, h) - before; n < 2*int64(guard.PageSize()) || n > 1<<20 {
		t.Errorf("%d bytes are in RAM, two OS pages were touched", n)
	}
	for i := range b[:8<<20] {
		b[i] = 1
	}
	h.Free(h.Alloc(100, 8))
	if n := resident(t, h) - before; n < 8<<20 || n > 9<<20 {
		t.Errorf("%d bytes are in RAM, 8 MiB were touched", n)
	}
	h.Free(b)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Resident(); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	p := poolFor[int64](t, Config{})
	p.Get()
	if n, err := p.Resident(); err != nil || n <= 0 || n > p.Stats().Committed {
		t.Errorf("pool: %d, %v", n, err)
	}
}

// TestWaste compares the estimate of the waste inside slots with the true waste.
func TestWaste(t *testing.T) {
	for _, c := range []Config{{}, {Hardened: true}} {
		h := open(t, c)
		slots, asked := 0, 0
		for i := range 20_000 {
			size := 900 + i%7*4 // in slots of 960
			b := h.Alloc(size, 8)
			asked += len(b)
			slots += int(sizeclass.Table[sizeclass.Of(uint(size))].Size)
		}
		s := h.Stats()
		if diff := s.Waste - (s.Live - int64(asked)); diff < -int64(asked)/100 || diff > int64(asked)/100 {
			t.Errorf("%d bytes are live, %d were asked for, %d are wasted, as Stats says", s.Live, asked, s.Waste)
		}
		if k := s.Classes[0]; k.Asked < 900 || k.Asked > 924 || k.Live != 20_000 {
			t.Errorf("%+v", k)
		}
		if !c.Hardened && s.Live != int64(slots) {
			t.Errorf("%d bytes are live, want %d", s.Live, slots)
		}
		taken := h.space.Taken() * unit
		if sum := s.Live + s.Cached + s.Free + s.Tails; sum != int64(taken) {
			t.Errorf("the figures add up to %d, slabs take %d", sum, taken)
		}
	}
}
