package table

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestGetBatchOfShortSlices: a slice that is too short is Go's panic, whatever its capacity is, and nothing is set. Longer ones will do.
func TestGetBatchOfShortSlices(t *testing.T) {
	a := openTest(t, arena.Config{})
	m, c := NewMap[int, int](a, 0), NewConcurrent[int, int](a, 0)
	for i := range 100 {
		m.Put(i, 1)
		c.Put(i, 1)
	}
	keys := make([]int, 100)
	for kind, batch := range map[string]func(keys, values []int, found []bool) int{"Map": m.GetBatch, "Concurrent": c.GetBatch} {
		for _, short := range []struct {
			values []int
			found  []bool
		}{{make([]int, 99, 200), nil}, {nil, nil}, {make([]int, 100), make([]bool, 99, 200)}, {make([]int, 100), []bool{}}} {
			if err := panicOf(func() { batch(keys, short.values, short.found) }); err == nil {
				t.Errorf("%s: %d values and %d found for %d keys: no panic", kind, len(short.values), len(short.found), len(keys))
			}
			for i, v := range short.values {
				if v != 0 {
					t.Errorf("%s: values[%d] was set", kind, i)
				}
			}
		}
		values, found := make([]int, 150), make([]bool, 150)
		if n := batch(keys, values, found); n != len(keys) {
			t.Errorf("%s: %d of %d keys are there", kind, n, len(keys))
		}
	}
	values, found := make([]int, 100), make([]bool, 100)
	if n := testing.AllocsPerRun(100, func() { m.GetBatch(keys, values, found) }); n != 0 {
		t.Errorf("GetBatch allocates %v times", n)
	}
}
