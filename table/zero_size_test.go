package table

import (
	"math"
	"slices"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestEntriesOfNoBytes: a key of no bytes is one key, whatever the value is.
func TestEntriesOfNoBytes(t *testing.T) {
	type nothing struct{}
	m := NewMap[nothing, nothing](openTest(t, arena.Config{}), 0)
	c := NewConcurrent[nothing, nothing](openTest(t, arena.Config{}), 0)
	for range 2 {
		m.Put(nothing{}, nothing{})
		c.Put(nothing{}, nothing{})
	}
	count := func(all func(yield func(nothing, nothing) bool)) (n int) {
		for range all {
			n++
		}
		return n
	}
	var cursors [2]Cursor
	got := []int{
		m.Len(), count(m.All()), count(m.Scan(&cursors[0], math.MaxInt)), count(m.Sample(2)), m.GetBatch(make([]nothing, 3), make([]nothing, 3), nil),
		c.Len(), count(c.All()), count(c.Scan(&cursors[1], math.MaxInt)), count(c.Sample(2)), c.GetBatch(make([]nothing, 3), make([]nothing, 3), nil),
	}
	if want := []int{1, 1, 1, 2, 3, 1, 1, 1, 2, 3}; !slices.Equal(got, want) || cursors != [2]Cursor{} {
		t.Errorf("a table with an entry of no bytes says %v, want %v; cursors %v", got, want, cursors)
	}
	if _, there := c.Update(nothing{}, func(nothing, bool) (nothing, bool) { return nothing{}, false }); there || c.Len() != 0 || count(c.All()) != 0 {
		t.Errorf("after its removal %d entries are there", c.Len())
	}
}
