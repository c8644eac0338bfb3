package region

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// check tests the invariant of spans.
func (s spans) check(t *testing.T) {
	t.Helper()
	for i, x := range s {
		if x.off >= x.end {
			t.Fatalf("span %d is empty: %v", i, s)
		}
		if i > 0 && (s[i-1].end > x.off || s[i-1].end == x.off && s[i-1].prot == x.prot) {
			t.Fatalf("spans %d and %d overlap, are out of order or should be one: %v", i-1, i, s)
		}
	}
}

func TestSpansAgainstArray(t *testing.T) {
	const size = 40
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var s spans
		var model [size]int // 0: not in the set; else protection+1
		for range 60 {
			off := uintptr(rng.IntN(size))
			end := off + 1 + uintptr(rng.IntN(size-int(off)))
			prot := vm.Prot(rng.IntN(3))
			value := int(prot) + 1
			if rng.IntN(2) == 0 {
				s = s.set(span{off: off, end: end, prot: prot})
			} else {
				s, value = s.remove(off, end), 0
			}
			for i := off; i < end; i++ {
				model[i] = value
			}
			s.check(t)
			var got [size]int
			for _, x := range s.inside(0, size) {
				for i := x.off; i < x.end; i++ {
					got[i] = int(x.prot) + 1
				}
			}
			if got != model {
				t.Fatalf("got %v\nwant %v", got, model)
			}
			lo := uintptr(rng.IntN(size))
			hi := lo + uintptr(rng.IntN(size-int(lo)))
			in := uintptr(0)
			for i := lo; i < hi; i++ {
				x, ok := s.at(i)
				if ok != (model[i] != 0) || ok && int(x.prot)+1 != model[i] {
					t.Fatalf("at(%d) = %v, %v; model %d", i, x, ok, model[i])
				}
				if ok {
					in++
				}
			}
			out := uintptr(0)
			for _, x := range s.outside(lo, hi) {
				out += x.end - x.off
				if s.bytes(x.off, x.end) != 0 {
					t.Fatalf("outside(%d, %d) returned %v, which is inside", lo, hi, x)
				}
			}
			if s.bytes(lo, hi) != in || out != hi-lo-in || s.covers(lo, hi) != (in == hi-lo) {
				t.Fatalf("[%d, %d): bytes %d, outside %d, model %d", lo, hi, s.bytes(lo, hi), out, in)
			}
		}
	}
}
