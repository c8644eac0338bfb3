package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/table/internal/keys"
)

// keyTexts returns a function that makes keys of from 8 to most bytes, all different: each begins with a number.
func keyTexts(random *rand.Rand, most int) func() string {
	n := 0
	filler := strings.Repeat("The bytes of a key. ", most/20+1)
	return func() string {
		n++
		return fmt.Sprintf("%08d", n) + filler[:random.IntN(most-7)]
	}
}

// TestOutsideStringsReuseKeys replaces all keys ten times, in several orders: the memory of deleted keys is used again.
func TestOutsideStringsReuseKeys(t *testing.T) {
	for _, order := range []string{"random", "oldest first", "iteration order"} {
		t.Run(order, func(t *testing.T) {
			n := 20_000
			if race.Enabled {
				n = 5_000
			} else if order == "random" && !testing.Short() {
				n = 100_000
			}
			random := rand.New(rand.NewPCG(1, 2))
			text := keyTexts(random, 200)
			a := openTest(t, arena.Config{})
			m := NewStrings[int](a, n)
			texts := make([]string, n)
			for i := range texts {
				texts[i] = text()
				m.Put(texts[i], i)
			}
			before := a.Stats().Live
			replace := func(i int) {
				if !m.Delete(texts[i]) {
					t.Fatalf("%q is lost", texts[i])
				}
				texts[i] = text()
				m.Put(texts[i], i)
			}
			switch order {
			case "random":
				for range 10 * n {
					replace(random.IntN(n))
				}
			case "oldest first":
				for i := range 10 * n {
					replace(i % n)
				}
			default:
				for done := 0; done < 10*n; {
					some := done
					for _, i := range m.All() {
						replace(i)
						if done++; done == some+n/10 {
							break
						}
					}
				}
			}
			allowed := before / 10
			if n < 20_000 {
				allowed *= 2 // slabs with free slots weigh more among few keys
			}
			if live := a.Stats().Live; live > before+allowed {
				t.Errorf("%d bytes are live after ten turnovers, %d before", live, before)
			}
			m.checkKeys()
			for i, s := range texts {
				if v, ok := m.Get(s); !ok || v != i {
					t.Fatalf("Get(%q) = %d, %v; want %d", s, v, ok, i)
				}
			}
		})
	}
}

// TestStringsAtTheLimit fills an arena, and replaces keys by others whose lengths round to the same memory: no call fails.
func TestStringsAtTheLimit(t *testing.T) {
	for _, most := range []int{20, 200, 5000} {
		random := rand.New(rand.NewPCG(1, uint64(most)))
		text := keyTexts(random, most)
		a := openTest(t, arena.Config{Limit: 512 << 10})
		m := NewStrings[int](a, 0)
		texts := []string{}
		for failed := 0; failed < 100; {
			s := text()
			if err := m.TryPut(s, len(texts)); err == nil {
				texts = append(texts, s)
			} else if failed++; !errors.Is(err, guard.ErrNoMemory) {
				t.Fatal(err)
			}
		}
		for range 2 * len(texts) {
			i := random.IntN(len(texts))
			if !m.Delete(texts[i]) {
				t.Fatalf("%q is lost", texts[i])
			}
			s := text()
			for keys.Round(uint(len(s))) != keys.Round(uint(len(texts[i]))) {
				s = text()
			}
			if err := m.TryPut(s, i); err != nil {
				t.Fatalf("a key of %d bytes replaces one of %d: %v", len(s), len(texts[i]), err)
			}
			texts[i] = s
		}
		m.checkKeys()
		for i, s := range texts {
			if v, ok := m.Get(s); !ok || v != i {
				t.Fatalf("Get(%q) = %d, %v; want %d", s, v, ok, i)
			}
		}
	}
}

// TestStringsWithoutMemory has every call of the arena fail: keys that could not be inserted take nothing.
func TestStringsWithoutMemory(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 300 << 10})
	m := NewStrings[int](a, 0)
	random := rand.New(rand.NewPCG(1, 1))
	text := keyTexts(random, 100)
	for i := range 500 {
		m.Put(text(), i)
	}
	fill(a)
	for range 3000 {
		before, n := m.keyHeap().Stats().Live, m.Len()
		if err := m.TryPut(text(), 1); err != nil && (m.keyHeap().Stats().Live != before || m.Len() != n) {
			t.Fatalf("TryPut: %v; %d bytes of keys and %d entries, before %d and %d", err, m.keyHeap().Stats().Live, m.Len(), before, n)
		}
	}
	m.checkKeys()
}

// TestStringsClearAndFill fills a table again and again after Clear: it takes hardly more memory than the first time.
func TestStringsClearAndFill(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewStrings[int](a, 0)
	var before int64
	for round := range 4 {
		text := keyTexts(rand.New(rand.NewPCG(1, 2)), 200)
		for i := range 10_000 {
			m.Put(text(), i)
		}
		m.checkKeys()
		if live := a.Stats().Live; round == 0 {
			before = live
		} else if live > before+before/10 {
			t.Errorf("%d bytes are live in round %d, %d in the first", live, round, before)
		}
		m.Clear()
		if s := m.keyHeap().Stats(); s.Live != 0 {
			t.Errorf("%d bytes of keys after Clear", s.Live)
		}
	}
}

// TestStringsAttachedTwice changes a table through two objects in turn: both use the memory of keys that the other deleted.
func TestStringsAttachedTwice(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewStrings[int](a, 0)
	other, err := AttachStrings[int](a, m.Ref())
	if err != nil {
		t.Fatal(err)
	}
	tables := []*Strings[int]{m, other}
	random := rand.New(rand.NewPCG(1, 2))
	text := keyTexts(random, 300)
	texts := []string{}
	for i := range 2000 {
		texts = append(texts, text())
		tables[i%2].Put(texts[i], i)
	}
	before := a.Stats().Live
	for i := range 20_000 {
		at := random.IntN(len(texts))
		if !tables[random.IntN(2)].Delete(texts[at]) {
			t.Fatalf("%q is lost", texts[at])
		}
		texts[at] = text()
		tables[i%2].Put(texts[at], at)
	}
	for i, s := range texts {
		if v, ok := other.Get(s); !ok || v != i {
			t.Fatalf("Get(%q) = %d, %v; want %d", s, v, ok, i)
		}
	}
	m.checkKeys()
	if live := a.Stats().Live; live > before+before/8 {
		t.Errorf("%d bytes are live, %d before", live, before)
	}
}
