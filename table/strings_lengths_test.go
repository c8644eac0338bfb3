package table

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestStringsOfAllLengths compares a Strings with a Go map: keys of up to 5 MB, and keys that are parts of keys of the table.
func TestStringsOfAllLengths(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	a := openTest(t, arena.Config{Limit: 1 << 28})
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
