package table

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// tablesOf calls f with a table of each kind that has n entries.
func tablesOf(t *testing.T, n int, f func(t *testing.T, m numbered)) {
	for kind, open := range newNumbered {
		t.Run(kind, func(t *testing.T) {
			m, err := open(openTest(t, arena.Config{}), 0)
			if err != nil {
				t.Fatal(err)
			}
			newTurnover(t, m, n, "")
			f(t, m)
		})
	}
}

// scanAll scans from the zero Cursor until it is zero again. between is called after each step.
func scanAll(t *testing.T, m numbered, n int, visit func(i uint64), between func()) (steps int) {
	t.Helper()
	var c Cursor
	for {
		m.scan(&c, n, visit)
		if steps++; steps > 50*m.len()+100_000 {
			t.Fatalf("Scan does not end: %d steps, %d entries", steps, m.len())
		}
		if c == 0 {
			return steps
		}
		if between != nil {
			between()
		}
	}
}

// TestScanVisitsAll: without changes every entry comes once, whatever the number asked for.
func TestScanVisitsAll(t *testing.T) {
	for _, entries := range []int{0, 1, 10, 100, 1000, 20_000} {
		tablesOf(t, entries, func(t *testing.T, m numbered) {
			for _, n := range []int{1, 7, 100, 1 << 30} {
				seen := make([]int, entries)
				steps := scanAll(t, m, n, func(i uint64) { seen[i]++ }, nil)
				for i, times := range seen {
					if times != 1 {
						t.Fatalf("%d entries, %d at a time: %d comes %d times", entries, n, i, times)
					}
				}
				if steps > 2*entries/n+1000 {
					t.Errorf("%d entries, %d at a time: %d steps", entries, n, steps)
				}
			}
		})
	}
}

// TestScanUnderChange: every entry that stays comes, while others come and go, the table grows, is emptied nearly
// and grows again.
func TestScanUnderChange(t *testing.T) {
	const stays = 2000
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		tablesOf(t, stays, func(t *testing.T, m numbered) {
			next, gone := uint64(stays), uint64(stays) // those between come and go
			seen := make([]bool, stays)
			scanAll(t, m, 1+round*3, func(i uint64) {
				if i < stays {
					seen[i] = true
				} else if i < gone {
					t.Fatalf("%d comes, which was deleted", i)
				}
			}, func() {
				switch {
				case rand.IntN(3) > 0:
					for range rand.IntN(60 * (1 + round%4)) {
						m.put(next)
						next++
					}
				case rand.IntN(4) == 0: // nearly all at once
					for ; gone < next; gone++ {
						m.delete(gone)
					}
				default:
					for range rand.IntN(100) {
						if gone < next {
							m.delete(gone)
							gone++
						}
					}
				}
				if next > 200_000 {
					for ; gone < next; gone++ {
						m.delete(gone)
					}
				}
			})
			for i, came := range seen {
				if !came {
					t.Fatalf("round %d: %d was there all the time and did not come", round, i)
				}
			}
			m.check()
		})
	}
}

// TestScanThatDeletes deletes what comes, as a sweep of expired entries does: nothing is left, and a half-way sweep
// leaves what did not come.
func TestScanThatDeletes(t *testing.T) {
	tablesOf(t, 30_000, func(t *testing.T, m numbered) {
		came := 0
		scanAll(t, m, 50, func(i uint64) {
			if !m.delete(i) {
				t.Fatalf("%d comes twice", i)
			}
			came++
		}, func() {
			if m.len() != 30_000-came {
				t.Fatalf("%d entries are left after %d of 30000 came", m.len(), came)
			}
		})
		if m.len() != 0 {
			t.Errorf("%d entries are left", m.len())
		}
	})
}

// TestSampleIsUniform draws many samples and bounds the chi-square of how often each entry comes, in a table as it was
// filled, and in one that lost half of its entries in the order of All.
func TestSampleIsUniform(t *testing.T) {
	tablesOf(t, 4000, func(t *testing.T, m numbered) {
		uniform := func(what string) {
			times := map[uint64]int{}
			const each = 50
			draws := each * m.len()
			m.sample(draws, func(i uint64) { times[i]++ })
			chi := 0.0
			m.all(func(i uint64) bool {
				d := float64(times[i] - each)
				chi += d * d / each
				return true
			})
			sum := 0
			for _, n := range times {
				sum += n
			}
			// The mean is one less than the entries, the standard deviation 90.
			if excess := chi / float64(m.len()); excess > 1.5 || sum != draws || len(times) > m.len() {
				t.Errorf("%s: chi-square is %.2f times the degrees of freedom; %d draws of %d, %d entries of %d", what, excess, sum, draws, len(times), m.len())
			}
		}
		uniform("filled")
		half := m.len() / 2
		m.all(func(i uint64) bool {
			m.delete(i)
			return m.len() > half
		})
		uniform("half deleted")
		u := &turnover{m: m, n: uint64(half), next: 1 << 20, order: "iteration"}
		u.run(t, half/3)
		uniform("while entries are replaced in the order of All")
	})
}

// TestSampleOfFew: samples of a table that was large are entries, too, and each comes some time.
func TestSampleOfFew(t *testing.T) {
	tablesOf(t, 50_000, func(t *testing.T, m numbered) {
		for i := range uint64(50_000 - 5) {
			m.delete(i)
		}
		times := map[uint64]int{}
		m.sample(5000, func(i uint64) { times[i]++ })
		if len(times) != 5 {
			t.Errorf("%d entries of 5 came", len(times))
		}
		for i := range uint64(5) {
			m.delete(50_000 - 1 - i)
		}
		m.sample(10, func(i uint64) { t.Errorf("%d comes from an empty table", i) })
	})
}
