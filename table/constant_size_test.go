package table

import (
	"fmt"
	"os"
	"sort"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestOutsideConstantSize fills tables in arenas that have just room for them, up to their hint, and replaces
// entries. No insertion may fail.
func TestOutsideConstantSize(t *testing.T) {
	limits := []int{64 << 10, 1 << 20}
	replacements := 60_000
	switch {
	case testing.Short():
		limits, replacements = limits[:1], 20_000
	case os.Getenv("OFFHEAP_ENTRIES") != "":
		limits, replacements = append(limits, 4<<20, 16<<20), 3_000_000
	}
	for _, limit := range limits {
		for kind, open := range newNumbered {
			n := mostEntries(t, limit, open, kind == "Strings")
			if kind == "Strings" {
				n -= n * 3 / 100 // what keys take is not the same in every table
			}
			for _, order := range orders {
				t.Run(fmt.Sprintf("%s/%s/Limit=%d", kind, order, limit), func(t *testing.T) {
					for round := range 2 {
						hint := n - round*n/16 // a little more room than needed must not harm
						replacements := replacements / (1 + 3*round)
						m, err := open(openTest(t, arena.Config{Limit: limit}), hint)
						if err != nil {
							t.Fatalf("a table for %d entries fits sometimes: %v", hint, err)
						}
						newTurnover(t, m, hint, order).run(t, replacements)
						m.check()
					}
				})
			}
		}
	}
}

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

// mostEntries returns the largest hint whose table fits into an arena with a Limit; with keys, its keys fit, too.
func mostEntries(t *testing.T, limit int, open func(a *arena.Arena, hint int) (numbered, error), keys bool) int {
	t.Helper()
	a := openTest(t, arena.Config{Limit: limit})
	n := sort.Search(limit/8, func(hint int) bool {
		a.Reset()
		m, err := open(a, hint)
		for i := 0; keys && i < hint && err == nil; i++ {
			err = m.put(uint64(i))
		}
		return err != nil
	}) - 1
	if n*16 < limit/8 {
		t.Errorf("no more than %d entries fit into %d bytes", n, limit)
	}
	return n
}
