package table

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
)

// openArena returns an arena of up to 1 GiB.
func openArena(t *testing.T) *arena.Arena {
	a, err := arena.Open(arena.Config{Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// TestIterationsUnderChange iterates by All and by Scan while entries come and go and the table is shrunk: those that stay come once, the others at most once.
func TestIterationsUnderChange(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 14 {
		a := openArena(t)
		m := NewMap[uint64, uint64](a, 0)
		n := []int{0, 1, 10, 100, 1000, 10000, 40000}[rnd.IntN(7)]
		stay := uint64(n) // keys below stay
		for i := range stay {
			m.Put(i, i)
		}
		next := stay + uint64(rnd.IntN(30000))
		for i := stay; i < next; i++ {
			m.Put(i, i)
		}
		low := stay
		change := func() {
			switch x := rnd.IntN(1000); {
			case x < 400:
				for range rnd.IntN(50) {
					m.Put(next, next)
					next++
				}
			case x < 700:
				for range rnd.IntN(60) {
					if low < next {
						m.Delete(low)
						low++
					}
				}
			case x < 703:
				m.Shrink()
			case x < 705:
				for low < next {
					m.Delete(low)
					low++
				}
				m.Shrink()
			case x < 706:
				for range 30000 {
					m.Put(next, next)
					next++
				}
			}
		}
		seen := map[uint64]int{}
		scan := round%2 == 0
		if scan {
			var c Cursor
			steps := 0
			for {
				for k, v := range m.Scan(&c, rnd.IntN(100)-1) {
					seen[k]++
					if k != v {
						t.Error("value")
					}
					if next < 400000 && rnd.IntN(100) == 0 {
						change()
					}
				}
				if next < 400000 {
					change()
				}
				if c == 0 {
					break
				}
				if steps++; steps > 1000000 {
					t.Fatal("no end")
				}
			}
		} else {
			for k := range m.All() {
				seen[k]++
				if next < 400000 && rnd.IntN(20) == 0 {
					change()
				}
			}
		}
		for k, n := range seen {
			if n != 1 {
				t.Fatalf("round %d scan %v: key %d (stay %d) came %d times", round, scan, k, stay, n)
			}
		}
		for k := range stay {
			if seen[k] != 1 {
				t.Fatalf("round %d scan %v: key %d missing of %d", round, scan, k, stay)
			}
		}
		m.check()
		a.Close()
	}
}

// TestClearInIterations clears the table, or resets the arena, in the middle of iterations.
func TestClearInIterations(t *testing.T) {
	for _, n := range []int{1, 20, 500, 20000} {
		for form := range 4 {
			a := openArena(t)
			m := NewMap[float64, uint64](a, 0)
			for i := range n {
				m.Put(float64(i), 1)
				m.Put(math.NaN(), 2)
			}
			f := func(k float64) bool {
				m.Clear()
				m.Shrink()
				return true
			}
			got := 0
			switch form {
			case 0:
				for k := range m.All() {
					got++
					f(k)
				}
			case 1:
				var c Cursor
				for {
					for k := range m.Scan(&c, 10) {
						got++
						f(k)
					}
					if c == 0 {
						break
					}
				}
			case 2:
				for k := range m.Sample(10) {
					got++
					f(k)
				}
			case 3:
				func() {
					defer func() {
						if _, ok := recover().(*guard.Violation); !ok {
							t.Error("no violation")
						}
					}()
					for range m.All() {
						got++
						a.Reset()
					}
				}()
				if got != 1 {
					t.Error(got)
				}
				continue
			}
			if got != 1 {
				t.Errorf("n %d form %d: %d came", n, form, got)
			}
			m.check()
		}
	}
}

// TestStringsOfAllLengths compares a Strings with a Go map: keys of up to 5 MB, and keys that are parts of keys of the table.
func TestStringsOfAllLengths(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	a := openArena(t)
	m := NewStrings[uint64](a, 0)
	model := map[string]uint64{}
	bigs := []int{0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 255, 256, 1023, 1024, 2047, 2048, 2049, 4079, 4080, 4095, 4096, 4097, 8192, 65535, 65536, 100 << 10, 5 << 20}
	key := func() string {
		n := bigs[rnd.IntN(len(bigs)-1)]
		if rnd.IntN(500) == 0 {
			n = 5 << 20
		}
		b := bytes.Repeat([]byte{byte(0x80 + rnd.IntN(30))}, n)
		if n > 2 {
			b[n-1], b[0] = byte(rnd.IntN(4)), 0xff
		}
		return string(b)
	}
	for step := range 6000 {
		k := key()
		switch x := rnd.IntN(100); {
		case x < 50:
			m.Put(k, uint64(step))
			model[k] = uint64(step)
		case x < 85:
			_, in := model[k]
			if m.Delete(k) != in {
				t.Fatal("Delete")
			}
			delete(model, k)
		case x < 95:
			for y := range m.Keys() { // substring of a key in the table
				if len(y) > 3 && len(y) < 100000 {
					at := rnd.IntN(len(y) - 2)
					z := y[at : at+1+rnd.IntN(len(y)-at-1)]
					model[strings.Clone(z)] = 7
					m.Put(z, 7)
					d := strings.Clone(y)
					m.Delete(y)
					delete(model, d)
				}
				break
			}
		case x == 95 && rnd.IntN(10) == 0:
			m.Clear()
			clear(model)
		case x == 96:
			m.Shrink()
		case x == 97:
			for y := range m.Keys() {
				if rnd.IntN(3) == 0 {
					delete(model, strings.Clone(y))
					m.Delete(y)
				}
			}
		}
		if step%500 == 0 {
			m.checkKeys()
			if m.Len() != len(model) {
				t.Fatal("Len", m.Len(), len(model))
			}
			for k, v := range model {
				if got, ok := m.Get(k); !ok || got != v {
					t.Fatal("Get", len(k), got, v, ok)
				}
			}
		}
	}
}

// TestAttachedInTurns uses three Maps of one table in turns.
func TestAttachedInTurns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	a := openArena(t)
	m1 := NewMap[uint32, uint32](a, 0)
	hs := []*Map[uint32, uint32]{m1}
	for range 2 {
		m, err := Attach[uint32, uint32](a, m1.Ref())
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, m)
	}
	model := map[uint32]uint32{}
	for step := range uint32(200000) {
		m := hs[rnd.IntN(3)]
		k := rnd.Uint32N(100000)
		switch x := rnd.IntN(10000); {
		case x < 6000:
			m.Put(k, step)
			model[k] = step
		case x < 9000:
			_, in := model[k]
			if m.Delete(k) != in {
				t.Fatal("delete")
			}
			delete(model, k)
		case x < 9998:
			v, ok := model[k]
			if got, in := m.Get(k); got != v || ok != in {
				t.Fatal("get")
			}
		case x == 9998:
			m.Shrink()
		case rnd.IntN(3) == 0:
			m.Clear()
			clear(model)
		}
	}
	hs[2].check()
	for _, m := range hs {
		if m.Len() != len(model) {
			t.Error("len")
		}
	}
}

// TestGetBatchOfFloats compares GetBatch with Get: NaN, -0, keys that come twice, and values that replace the keys.
func TestGetBatchOfFloats(t *testing.T) {
	a := openArena(t)
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
