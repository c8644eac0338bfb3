package arena

import (
	"math/rand/v2"
	"testing"
)

// The worst payload for the overhead that is there for each slot: small keys and values.
func TestMapMemory(t *testing.T) {
	a := openTest(t, Config{})
	m := NewMap[uint64, uint64](a, 0)
	most := 2_000_000
	if testing.Short() {
		most = 200_000
	}
	worst, at := 0.0, 0
	for n := 1; n <= most; n++ {
		m.Put(rand.Uint64(), 1)
		if n >= 100_000 && n%1000 == 0 {
			if r := float64(a.top-first) / float64(16*n); r > worst {
				worst, at = r, n
			}
			if n == 1_000_000 {
				t.Logf("a million entries: %.3f times the payload", float64(a.top-first)/float64(16*n))
				if a.top-first > 16*1_300_000 {
					t.Errorf("a million entries take %d bytes, more than 1.3 times their %d", a.top-first, 16*n)
				}
			}
		}
	}
	t.Logf("worst from 100,000 entries on: %.3f times the payload, at %d", worst, at)
	if worst > 1.35 {
		t.Errorf("%d entries take %.3f times the payload", at, worst)
	}
}

// No Put moves more than one group.
func TestMapGrowsByOneGroup(t *testing.T) {
	a := openTest(t, Config{})
	m := NewMap[uint64, uint64](a, 0)
	moves := 0
	for i := range uint64(200_000) {
		homes, moved := m.head.old().homes, m.head.moved
		m.Put(i, i)
		switch now := m.head; {
		case now.old().homes == homes && now.moved > moved+1:
			t.Fatalf("put %d moved %d groups", i, now.moved-moved)
		case now.old().homes == homes && now.moved == moved+1:
			moves++
		case now.old().homes != homes: // the last group was moved, and the scale changed
			moves++
			if now.moved != 0 {
				t.Fatalf("put %d moved groups of the next scale too", i)
			}
		}
	}
	if moves < 10_000 {
		t.Fatalf("only %d moves: this test does not see them", moves)
	}
}

// At a constant number of entries memory is constant, however many come and go.
func TestMapChurnTakesNoMemory(t *testing.T) {
	a := openTest(t, Config{})
	m := NewMap[uint64, uint64](a, 0)
	const n = 20_000
	for i := range uint64(n) {
		m.Put(i, i)
	}
	before := a.top
	for i := range uint64(30 * n) {
		m.Put(i+n, i)
		if !m.Delete(i) {
			t.Fatal(i)
		}
	}
	m.check()
	if grown := a.top - before; grown > before/3 {
		t.Fatalf("%d bytes became %d", before, a.top)
	}
}
