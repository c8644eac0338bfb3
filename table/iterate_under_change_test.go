package table

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// TestIterationsUnderChange iterates by All and by Scan while entries come and go and the table is shrunk: those that stay come once, the others at most once.
func TestIterationsUnderChange(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 14 {
		a := openTest(t, arena.Config{Limit: 1 << 28})
		m := NewMap[uint64, uint64](a, 0)
		n := []int{0, 1, 10, 100, 1000, 10000, 40000}[rnd.IntN(7)]
		stay := uint64(n) // keys below stay
		for i := range stay {
			m.Put(i, i)
		}
		next := stay + uint64(rnd.IntN(30000))
		for i := stay; i < next; i++ {
			m.Put(i, i)
		}
		low := stay
		change := func() {
			switch x := rnd.IntN(1000); {
			case x < 400:
				for range rnd.IntN(50) {
					m.Put(next, next)
					next++
				}
			case x < 700:
				for range rnd.IntN(60) {
					if low < next {
						m.Delete(low)
						low++
					}
				}
			case x < 703:
				m.Shrink()
			case x < 705:
				for low < next {
					m.Delete(low)
					low++
				}
				m.Shrink()
			case x < 706:
				for range 30000 {
					m.Put(next, next)
					next++
				}
			}
		}
		seen := map[uint64]int{}
		scan := round%2 == 0
		if scan {
			var c Cursor
			steps := 0
			for {
				for k, v := range m.Scan(&c, rnd.IntN(100)-1) {
					seen[k]++
					if k != v {
						t.Error("value")
					}
					if next < 400000 && rnd.IntN(100) == 0 {
						change()
					}
				}
				if next < 400000 {
					change()
				}
				if c == 0 {
					break
				}
				if steps++; steps > 1000000 {
					t.Fatal("no end")
				}
			}
		} else {
			for k := range m.All() {
				seen[k]++
				if next < 400000 && rnd.IntN(20) == 0 {
					change()
				}
			}
		}
		for k, n := range seen {
			if n != 1 {
				t.Fatalf("round %d scan %v: key %d (stay %d) came %d times", round, scan, k, stay, n)
			}
		}
		for k := range stay {
			if seen[k] != 1 {
				t.Fatalf("round %d scan %v: key %d missing of %d", round, scan, k, stay)
			}
		}
		m.check()
		a.Close()
	}
}

// TestClearInIterations clears the table, or resets the arena, in the middle of iterations.
func TestClearInIterations(t *testing.T) {
	for _, n := range []int{1, 20, 500, 20000} {
		for form := range 4 {
			a := openTest(t, arena.Config{Reserve: 1 << 24})
			m := NewMap[float64, uint64](a, 0)
			for i := range n {
				m.Put(float64(i), 1)
				m.Put(math.NaN(), 2)
			}
			f := func(k float64) bool {
				m.Clear()
				m.Shrink()
				return true
			}
			got := 0
			switch form {
			case 0:
				for k := range m.All() {
					got++
					f(k)
				}
			case 1:
				var c Cursor
				for {
					for k := range m.Scan(&c, 10) {
						got++
						f(k)
					}
					if c == 0 {
						break
					}
				}
			case 2:
				for k := range m.Sample(10) {
					got++
					f(k)
				}
			case 3:
				func() {
					defer func() {
						if _, ok := recover().(*guard.Violation); !ok {
							t.Error("no violation")
						}
					}()
					for range m.All() {
						got++
						a.Reset()
					}
				}()
				if got != 1 {
					t.Error(got)
				}
				continue
			}
			if got != 1 {
				t.Errorf("n %d form %d: %d came", n, form, got)
			}
			m.check()
		}
	}
}
