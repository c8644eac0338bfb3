package table

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// mostOverEntries is the most memory that a map of n entries of 16 bytes takes, in times the bytes of its entries. The
// comment of Map has these figures.
func mostOverEntries(n int) float64 {
	switch {
	case n >= 100_000:
		return 1.3
	case n >= 20_000:
		return 1.5
	case n >= 10_000:
		return 1.7
	case n >= 2_000:
		return 3.5
	}
	return max(6.5, 900/float64(16*n))
}

// TestOutsideMemoryOverEntries bounds the arena's live bytes by those of the entries, at all sizes of a map that grows, and
// of one that was made for its entries.
func TestOutsideMemoryOverEntries(t *testing.T) {
	most := sizes(300_000, 1_000_000)[0]
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	worst := map[float64]float64{} // by bound
	for n := 1; n <= most; n++ {
		m.Put(uint64(n), 1)
		if n > 200 && n%(n/200) != 0 {
			continue
		}
		times, bound := float64(a.Stats().Live)/float64(16*n), mostOverEntries(n)
		if times > bound {
			t.Fatalf("%d entries take %.3f times their bytes, want %.1f", n, times, bound)
		}
		worst[bound] = max(worst[bound], times)
	}
	t.Logf("most by bound: %.3f", worst)

	for hint := 100_000; hint <= most; hint += hint / 3 {
		a.Reset()
		m := NewMap[uint64, uint64](a, hint)
		made := a.Stats().Live
		for n := range hint {
			m.Put(uint64(n), 1)
		}
		if full := a.Stats().Live; full > made+made/16 || float64(full) > 1.3*16*float64(hint) {
			t.Errorf("a map for %d entries takes %.3f times their bytes, and %d more to be filled", hint, float64(made)/float64(16*hint), full-made)
		}
		for n := hint; n < 2*hint; n++ {
			m.Put(uint64(n), 1)
			if times := float64(a.Stats().Live) / float64(16*n); n%(hint/300) == 0 && times > mostOverEntries(n) {
				t.Fatalf("a map for %d entries takes %.3f times its bytes when it has grown to %d", hint, times, n)
			}
		}
	}
}

// TestOutsideMemoryAfterShrinking: a table that loses most of its entries, those which All meets first, and gets others
// for them, takes at most a tenth more memory than before.
func TestOutsideMemoryAfterShrinking(t *testing.T) {
	n := uint64(sizes(20_000, 60_000)[0])
	for kind, open := range newNumbered {
		a := openTest(t, arena.Config{})
		m, err := open(a, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			m.put(i)
		}
		full := a.Stats().Live
		next := n
		for round := range 6 {
			gone := uint64(0)
			m.all(func(i uint64) bool {
				m.delete(i)
				gone++
				return gone < n*uint64(round+4)/10
			})
			m.check()
			for range gone {
				m.put(next)
				next++
			}
			if live := a.Stats().Live; float64(live) > 1.1*float64(full)+16<<10 {
				t.Errorf("%s: %d bytes are live in round %d, before %d", kind, live, round, full)
			}
		}
		if m.len() != int(n) {
			t.Errorf("%s: %d entries", kind, m.len())
		}
	}
}

// TestOutsideMemoryOfKeys replaces all keys of a Strings ten times. The arena's live bytes must not grow by more
// than a tenth, and a few blocks of a small table.
func TestOutsideMemoryOfKeys(t *testing.T) {
	for _, lengths := range [][2]int{{8, 200}, {8, 16}, {200, 200}, {1000, 9000}} {
		for _, order := range []string{"iteration", "oldest", "random"} {
			n := sizes(1_000, 10_000)[0]
			if lengths == [2]int{8, 200} {
				n = sizes(4_000, 40_000)[0]
			}
			t.Run(fmt.Sprintf("%d to %d bytes/%s", lengths[0], lengths[1], order), func(t *testing.T) {
				n := min(n, 20_000_000/lengths[1])
				a := openTest(t, arena.Config{})
				m := newNumberedStrings(NewStrings[uint64](a, 0), lengths[0], lengths[1])
				u := newTurnover(t, m, n, order)
				fresh := a.Stats().Live
				for turn := range 10 {
					u.run(t, n)
					if live := a.Stats().Live; float64(live) > 1.1*float64(fresh)+16<<10 {
						t.Fatalf("after %d turnovers %d bytes are live, %.2f times the %d of the fresh table", turn+1, live, float64(live)/float64(fresh), fresh)
					}
				}
				t.Logf("live: %d bytes fresh, %d after ten turnovers", fresh, a.Stats().Live)
				m.all(func(i uint64) bool {
					if !m.get(i) {
						t.Fatalf("%d is lost", i)
					}
					return true
				})
				m.check()
			})
		}
	}
}

// TestOutsideLengthsShift changes the lengths of the keys of a Strings from short to long and back, at about the
// same number of bytes. Memory of keys of one length must serve keys of another.
func TestOutsideLengthsShift(t *testing.T) {
	bytes := sizes(200_000, 1_000_000)[0]
	a := openTest(t, arena.Config{})
	m := newNumberedStrings(NewStrings[uint64](a, 0), 8, 1000)
	var keys []struct {
		i      uint64
		length int
	}
	held, next := 0, uint64(0)
	shift := func(length int) {
		m.shortest, m.longest = length, length
		for moved := 0; moved < bytes; moved += length {
			if err := m.put(next); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, struct {
				i      uint64
				length int
			}{next, length})
			next++
			for held += length; held > bytes; {
				at := rand.IntN(len(keys))
				gone := keys[at]
				keys[at] = keys[len(keys)-1]
				keys = keys[:len(keys)-1]
				m.shortest, m.longest = gone.length, gone.length
				if !m.delete(gone.i) {
					t.Fatalf("%d is lost", gone.i)
				}
				held -= gone.length
				m.shortest, m.longest = length, length
			}
		}
	}
	most := int64(0)
	for round := range 4 {
		for _, length := range []int{16, 60, 200, 900, 60} {
			for range 6 { // until nearly all keys have the length
				shift(length)
			}
		}
		live := a.Stats().Live
		if round == 0 {
			most = live
		}
		if float64(live) > 1.1*float64(most) {
			t.Fatalf("in round %d %d bytes are live, after the first %d; keys have %d", round, live, most, held)
		}
	}
	t.Logf("live: %d bytes, keys have %d", a.Stats().Live, held)
}
