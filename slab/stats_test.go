package slab

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

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
