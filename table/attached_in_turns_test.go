package table

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestAttachedInTurns uses three Maps of one table in turns.
func TestAttachedInTurns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	a := openTest(t, arena.Config{Limit: 1 << 28})
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
