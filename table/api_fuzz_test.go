package table

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// scanOf checks the steps of a Scan: an entry that is there from the first step to the last comes once.
type scanOf[K comparable] struct {
	cursor Cursor
	stays  map[K]int // entries that are there since the first step, and how often they came
}

// begin notes the entries that are there before the first step.
func (s *scanOf[K]) begin(keys func(yield func(K) bool)) {
	if s.cursor == 0 {
		s.stays = map[K]int{}
		for k := range keys {
			s.stays[k] = 0
		}
	}
}

// came notes an entry that came.
func (s *scanOf[K]) came(t *testing.T, k K) {
	if n, ok := s.stays[k]; ok {
		if s.stays[k] = n + 1; n > 0 {
			t.Fatalf("Scan: %v comes twice", k)
		}
	}
}

// end checks after a step that was the last one.
func (s *scanOf[K]) end(t *testing.T) {
	if s.cursor != 0 {
		return
	}
	for k, n := range s.stays {
		if n == 0 {
			t.Fatalf("Scan: %v was there all the time and did not come", k)
		}
	}
}

// FuzzTables does the same operations of the whole API to a Map, a Strings, a Map of floats and Go's maps. An operation is
// four bytes: its kind, a key, and how often.
func FuzzTables(f *testing.F) {
	run := func(kind byte, n int) (ops []byte) {
		for i := range n {
			ops = append(ops, kind, byte(i*37), byte(i*37>>8), byte(i))
		}
		return ops
	}
	join := func(parts ...[]byte) (ops []byte) {
		for _, p := range parts {
			ops = append(ops, p...)
		}
		return ops
	}
	scan := []byte{9, 0, 0, 20}
	f.Add(join(run(0, 40), scan, run(1, 50), scan, []byte{5, 0, 0, 0}, scan, run(2, 10), scan))
	f.Add(join(run(3, 60), scan, run(4, 30), []byte{6, 0, 0, 0}, scan, []byte{7, 1, 0, 0}, run(0, 30), scan, scan, scan))
	f.Add(join(run(3, 200), scan, run(4, 180), []byte{6, 0, 0, 0}, scan, run(3, 20), scan, scan, run(8, 30), scan))
	f.Add(join(run(10, 30), run(9, 5), run(10, 30), run(9, 40), run(11, 9)))
	f.Fuzz(operate)
}

// TestOperations does random operations as FuzzTables does.
func TestOperations(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	if n, err := strconv.Atoi(os.Getenv("OFFHEAP_ROUNDS")); err == nil {
		rounds = n
	}
	for range rounds {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 4*rng.IntN(1000))
		for i := range ops {
			if ops[i] = byte(rng.Uint32()); i%4 == 0 && rng.IntN(3) == 0 {
				ops[i] = 9 // so that scans come to their end
			}
		}
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { operate(t, ops) }) {
			break
		}
	}
}

// operate does the operations of FuzzTables.
func operate(t *testing.T, ops []byte) {
	a := openTest(t, arena.Config{})
	m, s, fm := NewMap[uint16, uint32](a, 0), NewStrings[uint32](a, 0), NewMap[float32, uint32](a, 0)
	model, floats := map[uint16]uint32{}, map[float32]uint32{}
	var scanM, scanS scanOf[uint16]
	name := func(k uint16) string { return fmt.Sprintf("%0*d", int(k%50), k) }
	number := func(text string) (k uint16) {
		for _, c := range text {
			k = k*10 + uint16(c-'0')
		}
		return k
	}
	float := func(k uint16) float32 {
		switch k % 16 {
		case 0:
			return 0
		case 1:
			return float32(math.Copysign(0, -1))
		case 2:
			return float32(math.NaN())
		}
		return float32(k) / 4
	}
	put := func(k uint16, v uint32) {
		m.Put(k, v)
		s.PutBytes([]byte(name(k)), v)
		model[k] = v
		fm.Put(float(k), v)
		floats[float(k)] = v
	}
	remove := func(k uint16) {
		_, there := model[k]
		_, floatThere := floats[float(k)]
		if m.Delete(k) != there || s.Delete(name(k)) != there || fm.Delete(float(k)) != floatThere {
			t.Fatalf("Delete(%d): model %v, float %v", k, there, floatThere)
		}
		delete(model, k)
		delete(floats, float(k))
		delete(scanM.stays, k)
		delete(scanS.stays, k)
	}
	for i := 0; i+3 < len(ops); i += 4 {
		k, n, v := binary.LittleEndian.Uint16(ops[i+1:])%5000, int(ops[i+3]), uint32(i+1)
		_, there := model[k]
		switch ops[i] % 12 {
		case 0:
			put(k, v)
		case 1:
			added, addedToo := m.Add(k, v), s.Add(name(k), v)
			_, floatThere := floats[float(k)]
			if added == there || addedToo == there || fm.Add(float(k), v) == floatThere {
				t.Fatalf("Add(%d): %v, %v; model %v", k, added, addedToo, there)
			}
			if !there {
				model[k] = v
			}
			if !floatThere {
				floats[float(k)] = v
			}
		case 2:
			remove(k)
		case 3: // many
			for j := range uint16(n) {
				put((k+j*19)%5000, v)
			}
		case 4:
			for j := range uint16(n) {
				remove((k + j*19) % 5000)
			}
		case 5:
			if n%4 == 0 {
				m.Clear()
				s.Clear()
				fm.Clear()
				clear(model)
				clear(floats)
				clear(scanM.stays)
				clear(scanS.stays)
			}
		case 6:
			m.Shrink()
			s.Shrink()
			fm.Shrink()
		case 7: // go on with other names of the tables
			var err1, err2, err3 error
			m, err1 = Attach[uint16, uint32](a, m.Ref())
			s, err2 = AttachStrings[uint32](a, s.Ref())
			fm, err3 = Attach[float32, uint32](a, fm.Ref())
			if err1 != nil || err2 != nil || err3 != nil {
				t.Fatal(err1, err2, err3)
			}
		case 8:
			keys := make([]uint16, n)
			for j := range keys {
				keys[j] = (k + uint16(j)*19) % 5000
			}
			values, found := make([]uint32, n), make([]bool, n)
			hits := 0
			for j := range values {
				values[j] = 1 << 31
			}
			got := m.GetBatch(keys, values, found)
			for j, k := range keys {
				want, there := model[k]
				if values[j] != want || found[j] != there {
					t.Fatalf("GetBatch: %d is %d, %v; model %d, %v", k, values[j], found[j], want, there)
				}
				if there {
					hits++
				}
			}
			if got != hits {
				t.Fatalf("GetBatch has %d hits, want %d", got, hits)
			}
		case 9: // one step
			scanM.begin(maps.Keys(model))
			for k, v := range m.Scan(&scanM.cursor, n) {
				if want, ok := model[k]; !ok || v != want {
					t.Fatalf("Scan: %d is %d; model %d, %v", k, v, want, ok)
				}
				scanM.came(t, k)
			}
			scanM.end(t)
			scanS.begin(maps.Keys(model))
			for text, v := range s.Scan(&scanS.cursor, n) {
				if want, ok := model[number(text)]; !ok || v != want {
					t.Fatalf("Scan: %q is %d; model %d, %v", text, v, want, ok)
				}
				scanS.came(t, number(text))
			}
			scanS.end(t)
		case 10: // one step with changes in its middle
			scanM.begin(maps.Keys(model))
			for at, v := range m.Scan(&scanM.cursor, n) {
				if want, ok := model[at]; !ok || v != want {
					t.Fatalf("Scan: %d is %d; model %d, %v", at, v, want, ok)
				}
				scanM.came(t, at)
				switch at % 4 {
				case 0:
					remove(at)
				case 1:
					remove((at + k) % 5000)
				case 2:
					if len(model) < 3000 {
						put((at+k)%5000, v)
					}
				}
			}
			scanM.end(t)
		case 11:
			draws := 0
			for k, v := range m.Sample(n) {
				if want, ok := model[k]; !ok || v != want {
					t.Fatalf("Sample: %d is %d; model %d, %v", k, v, want, ok)
				}
				draws++
			}
			for text, v := range s.Sample(n) {
				if want, ok := model[number(text)]; !ok || v != want {
					t.Fatalf("Sample: %q is %d; model %d, %v", text, v, want, ok)
				}
				draws++
			}
			if want := 2 * n; draws != want && len(model) > 0 || draws > 0 && len(model) == 0 {
				t.Fatalf("Sample: %d draws, want %d", draws, want)
			}
			sum, keys := uint64(0), uint64(0)
			for v := range m.Values() {
				sum += uint64(v)
			}
			for v := range s.Values() {
				sum += uint64(v)
			}
			for k := range m.Keys() {
				keys += uint64(k)
			}
			for k := range s.Keys() {
				keys += uint64(number(k))
			}
			for k, v := range model {
				sum -= 2 * uint64(v)
				keys -= 2 * uint64(k)
			}
			if sum != 0 || keys != 0 {
				t.Fatalf("Keys and Values have others than the model")
			}
		}
		want, there := model[k]
		if v, ok := m.GetHashed(m.HashOf(k), k); v != want || ok != there {
			t.Fatalf("GetHashed(%d) = %d, %v; model %d, %v", k, v, ok, want, there)
		}
		if v, ok := s.Get(name(k)); v != want || ok != there {
			t.Fatalf("Get(%q) = %d, %v; model %d, %v", name(k), v, ok, want, there)
		}
		if v, ok := s.GetHashed(s.HashOf(name(k)), name(k)); v != want || ok != there {
			t.Fatalf("GetHashed(%q) = %d, %v; model %d, %v", name(k), v, ok, want, there)
		}
		want, there = floats[float(k)]
		if v, ok := fm.Get(float(k)); v != want || ok != there {
			t.Fatalf("Get(%v) = %d, %v; model %d, %v", float(k), v, ok, want, there)
		}
		if m.Len() != len(model) || s.Len() != len(model) || fm.Len() != len(floats) {
			t.Fatalf("%d, %d and %d entries, model %d and %d", m.Len(), s.Len(), fm.Len(), len(model), len(floats))
		}
	}
	m.check()
	s.typed.check()
	fm.check()
	// Each NaN is an entry of its own, and zeros keep their sign: entries are compared by their bits.
	type entry struct {
		bits uint32
		v    uint32
	}
	difference := map[entry]int{}
	for k, v := range fm.All() {
		difference[entry{math.Float32bits(k), v}]++
	}
	for k, v := range floats {
		difference[entry{math.Float32bits(k), v}]--
	}
	for e, n := range difference {
		if n != 0 {
			t.Fatalf("the key with the bits %x and value %d comes %d times more often than in Go's map", e.bits, e.v, n)
		}
	}
	if got := maps.Collect(m.All()); !maps.Equal(got, model) {
		t.Fatalf("All has %d entries, the model %d", len(got), len(model))
	}
}
