package table

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestGrowthMovesOneLeaf counts the groups of leaves that each insertion and deletion rebuilds: at most those of one leaf
// and of one pair that is split. So no insertion waits for the whole table.
func TestGrowthMovesOneLeaf(t *testing.T) {
	n := uint64(500_000)
	if testing.Short() {
		n = 60_000
	}
	m := NewMap[uint64, uint64](openTest(t, arena.Config{}), 0)
	type shape struct{ groups, firstBlock uint32 }
	var before []shape
	rebuilt, most := 0, 0
	// look counts the leaves that have other groups than at the call before.
	look := func(what string, i uint64) {
		r := m.root
		moved := 0
		for number := range r.leaves {
			l := r.leafAt(number)
			now := shape{l.groups, l.blocks[0]}
			if int(number) >= len(before) {
				before = append(before, shape{})
			}
			if before[number] != now {
				moved++
				before[number] = now
			}
		}
		before = before[:r.leaves]
		rebuilt += moved
		if most = max(most, moved); moved > 4 {
			t.Fatalf("%s of %d has rebuilt %d leaves of %d", what, i, moved, r.leaves)
		}
	}
	changes := m.root.changes
	every := func(what string, i uint64) {
		if m.root.changes != changes+1 { // rebuilding counts as a change, too
			look(what, i)
		}
		changes = m.root.changes
	}
	for i := range n {
		m.Put(i, i)
		every("Put", i)
	}
	for i := range n {
		m.Delete(i)
		every("Delete", i)
	}
	t.Logf("%d times a leaf was rebuilt, %d at a time, for %d insertions and deletions", rebuilt, most, 2*n)
}

// TestSplitsTakeFewBlocks: a leaf that is split has the blocks that it had, and its twin gets some of them. So no split takes more new ones from the
// arena than its two leaves lose by rounding, and one or two for each to begin with.
func TestSplitsTakeFewBlocks(t *testing.T) {
	m := NewMap[uint64, uint64](openTest(t, arena.Config{}), 0)
	splits := 0
	for i := range uint64(80_000) {
		leaves, blocks := m.root.leaves, m.root.blocks
		m.Put(i, i)
		if m.root.leaves != leaves {
			splits++
			if more := m.root.blocks - blocks; more > 5 {
				t.Fatalf("the split of one of %d leaves took %d blocks", leaves, more)
			}
		}
	}
	if splits < 20 {
		t.Errorf("%d splits", splits)
	}
}

// TestFailedPutDuringAll lets insertions fail while All runs over a table in a full arena. All entries come, each once, with
// the values that they have.
func TestFailedPutDuringAll(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 1 << 20})
	m := NewMap[uint64, uint64](a, 500)
	n := uint64(0)
	for ; n < 20_000; n++ {
		m.Put(n, 0)
	}
	fill(a)
	failed, seen := 0, map[uint64]bool{}
	for k, v := range m.All() {
		if got, ok := m.Get(k); !ok || got != v || seen[k] {
			t.Fatalf("All yields %d for %d, Get %d, %v; it came before: %v", v, k, got, ok, seen[k])
		}
		seen[k] = true
		for range 3 {
			if err := m.TryPut(n, 0); err != nil {
				failed++
			} else {
				n++
			}
			m.Put(k, 1)
			m.Put((k*7+1)%n, 1)
		}
	}
	m.check()
	for i := range uint64(20_000) {
		if !seen[i] {
			t.Fatalf("%d was there all the time and did not come", i)
		}
	}
	if failed == 0 {
		t.Error("no insertion failed")
	}
}

// TestManyOfOneHash inserts more entries with close homes than a counter can count.
func TestManyOfOneHash(t *testing.T) {
	m := NewMap[uint64, uint64](openTest(t, arena.Config{}), 0)
	// The seed is random, so such keys are found by trying. All upper halves are in one sixteenth of the range.
	var keys []uint64
	for k := uint64(0); len(keys) < 5000; k++ {
		if m.HashOf(k)>>60 == 5 {
			keys = append(keys, k)
			m.Put(k, k)
			if len(keys)%500 == 0 {
				m.check()
			}
		}
	}
	seen := 0
	for range m.All() {
		seen++
	}
	if seen != len(keys) {
		t.Errorf("All has %d entries, want %d", seen, len(keys))
	}
	for i, k := range keys {
		if v, ok := m.Get(k); v != k || !ok || !m.Delete(k) {
			t.Fatalf("%d is lost", k)
		}
		if i%1000 == 0 {
			m.check()
		}
	}
	for k := range uint64(20_000) {
		m.Put(k, k)
	}
	m.check()
}

// TestCrowdedGroups lets entries with homes in one half of a leaf take the place of others. At the load of the whole leaf that half overflows, so the leaf
// grows. In the mean of some tables a miss looks at 3 groups then, and at 11 in leaves that do not grow.
func TestCrowdedGroups(t *testing.T) {
	groups, misses := 0, uint64(0)
	for range 20 {
		m := NewMap[uint64, uint64](openTest(t, arena.Config{}), 0)
		dense := func(k uint64) bool { return m.HashOf(k)>>63 != 0 }
		next := uint64(0)
		for ; next < 5000; next++ {
			m.Put(next, next)
		}
		for k, moved := uint64(0), 0; moved < 400; k++ {
			if dense(k) {
				continue
			}
			m.Delete(k)
			for !dense(next) {
				next++
			}
			m.Put(next, next)
			next++
			moved++
		}
		m.check()
		for range 5000 {
			groups += mapSearched(m, 1<<60+misses)
			misses++
		}
	}
	if mean := float64(groups) / float64(misses); mean > 5 {
		t.Errorf("a miss looks at %.2f groups", mean)
	} else {
		t.Logf("a miss looks at %.2f groups", mean)
	}
}
