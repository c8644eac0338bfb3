package table

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestOutsideHint fills tables of all small hints, and some large ones, whose arena is full as soon as they are
// made. They must take as many entries as their hint says.
func TestOutsideHint(t *testing.T) {
	most := 1000
	if testing.Short() {
		most = 300
	}
	a := openTest(t, arena.Config{Limit: 8 << 20})
	for hint := 1; hint < 200_000; hint += 1 + max(0, hint-most)/3 {
		a.Reset()
		m := NewMap[uint64, uint64](a, hint)
		mark := a.Mark()
		fill(a)
		for i := range uint64(hint) {
			if err := m.TryPut(i, i); err != nil {
				t.Fatalf("hint %d, entry %d: %v", hint, i, err)
			}
		}
		for i := range uint64(100) { // at full size
			m.Delete(i % uint64(hint))
			if err := m.TryPut(1<<40+i, i); err != nil {
				t.Fatalf("hint %d, replacement %d: %v", hint, i, err)
			}
			m.Delete(1<<40 + i)
			m.Put(i%uint64(hint), 0)
		}
		m.check()
		a.Rewind(mark)
	}
}
