package bitmap

import (
	"math/rand/v2"
	"testing"
)

// model is a Set that is easy to believe.
type model []bool

// find is Set.Find, by trying every place.
func (m model) find(from, end, n int) int {
	for i := from; i+n <= end; i++ {
		if m.count(i, n) == n {
			return i
		}
	}
	return -1
}

func (m model) count(first, n int) (members int) {
	for _, in := range m[first : first+n] {
		if in {
			members++
		}
	}
	return members
}

// combine returns what is in a or b, and what is only in a.
func combine(a, b model) (both, only model) {
	for i := range a {
		both, only = append(both, a[i] || b[i]), append(only, a[i] && !b[i])
	}
	return both, only
}

// TestModel changes two sets at random, and compares every answer with that of the models.
func TestModel(t *testing.T) {
	for _, length := range []int{1, 2, 63, 64, 65, 128, 200} {
		random := rand.New(rand.NewPCG(1, uint64(length)))
		sets, models := []Set{New(length), New(length)}, []model{make(model, length), make(model, length)}
		for range 4000 {
			i, first := random.IntN(2), random.IntN(length)
			s, m := sets[i], models[i]
			n := random.IntN(min(length-first, 1+random.IntN(70)) + 1)
			add := random.IntN(2) == 0
			if add {
				s.Add(first, n)
			} else {
				s.Remove(first, n)
			}
			for j := range n {
				m[first+j] = add
			}

			from := random.IntN(length + 1)
			end := from + random.IntN(length-from+1)
			if s.Len() != length || s.Has(first) != m[first] {
				t.Fatalf("length %d: Len %d, Has(%d) %v; want %v", length, s.Len(), first, s.Has(first), m[first])
			}
			if got, want := s.Count(from, end-from), m.count(from, end-from); got != want {
				t.Fatalf("length %d: Count(%d, %d) is %d, want %d", length, from, end-from, got, want)
			}
			if got, want := s.HasAll(from, end-from), m.count(from, end-from) == end-from; got != want {
				t.Fatalf("length %d: HasAll(%d, %d) is %v", length, from, end-from, got)
			}
			n = 1 + random.IntN(10)
			if got, want := s.Find(from, end, n), m.find(from, end, n); got != want {
				t.Fatalf("length %d: Find(%d, %d, %d) is %d, want %d", length, from, end, n, got, want)
			}
			both, only := combine(models[0], models[1])
			if got, want := FindEither(sets[0], sets[1], from, end, n), both.find(from, end, n); got != want {
				t.Fatalf("length %d: FindEither(%d, %d, %d) is %d, want %d", length, from, end, n, got, want)
			}
			if got, want := FindOnly(sets[0], sets[1], from, end), only.find(from, end, 1); got != want {
				t.Fatalf("length %d: FindOnly(%d, %d) is %d, want %d", length, from, end, got, want)
			}
		}
	}
}

// TestCopyShares keeps a copy, as a struct that is copied does.
func TestCopyShares(t *testing.T) {
	a := New(10)
	b := a
	a.Add(3, 2)
	if !b.HasAll(3, 2) || b.Count(0, 10) != 2 {
		t.Error("a copy does not share its members")
	}
}

// BenchmarkFind finds three members at the end of a million numbers. Before are runs of two, then none.
func BenchmarkFind(b *testing.B) {
	s := New(1 << 20)
	for i := 0; i < 1<<19; i += 3 {
		s.Add(i, 2)
	}
	s.Add(1<<20-3, 3)
	for b.Loop() {
		if s.Find(0, s.Len(), 3) < 0 {
			b.Fatal("not found")
		}
	}
}
