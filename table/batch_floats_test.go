package table

import (
	"math"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestGetBatchOfFloats compares GetBatch with Get: NaN, -0, keys that come twice, and values that replace the keys.
func TestGetBatchOfFloats(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 1 << 28})
	m := NewMap[float64, float64](a, 0)
	for i := range 5000 {
		m.Put(float64(i), float64(2*i))
	}
	for _, n := range []int{0, 1, 31, 32, 33, 64, 1000} {
		keys := make([]float64, n)
		want := 0
		for i := range keys {
			switch i % 5 {
			case 0:
				keys[i] = math.NaN()
			case 1:
				keys[i] = math.Copysign(0, -1)
				want++
			case 2:
				keys[i] = float64(i % 7)
				want++
			case 3:
				keys[i] = float64(i)
				want++
			case 4:
				keys[i] = -1
			}
		}
		for range 2 {
			vals := append([]float64(nil), keys...)
			for i := range vals {
				vals[i] = 99
			}
			found := make([]bool, n)
			if got := m.GetBatch(keys, vals, found); got != want {
				t.Fatal(n, got, want)
			}
			for i, k := range keys {
				v, ok := m.Get(k)
				if vals[i] != v || found[i] != ok {
					t.Fatal("differs")
				}
			}
			alias := append([]float64(nil), keys...)
			if got := m.GetBatch(alias, alias, nil); got != want {
				t.Fatal("aliased", n, got, want)
			}
			for i := range alias {
				if alias[i] != vals[i] {
					t.Fatal("aliased value", i)
				}
			}
		}
	}
	m.Clear()
	if m.GetBatch(make([]float64, 100), make([]float64, 100), nil) != 0 {
		t.Error("cleared")
	}
}
