package table

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// floatShape is a type of keys that have a float in some place.
type floatShape struct {
	name  string
	model func(t *testing.T) // operations against Go's map
	nans  func(t *testing.T) // many NaNs
}

// shapeOf returns the tests of a key type. with makes a key that has a float in its place, of returns the float.
func shapeOf[K comparable](with func(f float64) K, of func(k K) float64) floatShape {
	return floatShape{
		name:  fmt.Sprintf("%T", *new(K)),
		model: func(t *testing.T) { compareFloatKeys(t, with, of) },
		nans:  func(t *testing.T) { putManyNaNs(t, with, of) },
	}
}

type (
	floatStruct struct {
		A int32
		F float64
	}
	floatNested struct {
		A byte
		_ int16
		B [2]struct {
			A byte
			C complex64
			D bool
		}
	}
)

var floatShapes = []floatShape{
	shapeOf(func(f float64) float32 { return float32(f) }, func(k float32) float64 { return float64(k) }),
	shapeOf(func(f float64) float64 { return f }, func(k float64) float64 { return k }),
	shapeOf(func(f float64) complex64 { return complex(1, float32(f)) }, func(k complex64) float64 { return float64(imag(k)) }),
	shapeOf(func(f float64) complex128 { return complex(f, 1) }, func(k complex128) float64 { return real(k) }),
	shapeOf(func(f float64) [3]float32 { return [3]float32{1, 2, float32(f)} }, func(k [3]float32) float64 { return float64(k[2]) }),
	shapeOf(func(f float64) floatStruct { return floatStruct{7, f} }, func(k floatStruct) float64 { return k.F }),
	shapeOf(func(f float64) (k floatNested) {
		k.B[1].C, k.B[1].D = complex(float32(f), 0), true
		return k
	}, func(k floatNested) float64 { return float64(real(k.B[1].C)) }),
}

// TestOutsideFloatKeys does the same to a Map and to Go's map, with keys among which are 0, -0 and NaN. Go's map
// keeps the sign of the zero that was assigned last, and an entry for every NaN.
func TestOutsideFloatKeys(t *testing.T) {
	for _, s := range floatShapes {
		t.Run(s.name, s.model)
	}
}

func compareFloatKeys[K comparable](t *testing.T, with func(f float64) K, of func(k K) float64) {
	// entries returns the bits of the keys by value; every value comes once.
	entries := func(all func(func(K, int) bool)) map[int]uint64 {
		got := map[int]uint64{}
		for k, v := range all {
			if _, twice := got[v]; twice {
				t.Fatalf("the value %d comes twice", v)
			}
			got[v] = math.Float64bits(of(k))
		}
		return got
	}
	rng := rand.New(rand.NewPCG(3, 4))
	m, model := NewMap[K, int](openTest(t, arena.Config{}), 0), map[K]int{}
	some := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1, -1}
	for i := range 4000 {
		f := some[rng.IntN(len(some))]
		if rng.IntN(2) == 0 {
			f = float64(rng.IntN(100)) / 4
		}
		k := with(f)
		old, there := model[k]
		switch op := rng.IntN(8); {
		case op < 3:
			m.Put(k, i)
			model[k] = i
		case op == 3:
			v, inserted := m.Entry(k)
			if inserted == there || *v != old {
				t.Fatalf("Entry(%v) is %d, %v; want %d, %v", k, *v, inserted, old, !there)
			}
			*v = i
			model[k] = i
		case op == 4:
			if m.Delete(k) != there {
				t.Fatalf("Delete(%v) is %v", k, !there)
			}
			delete(model, k)
		case op == 5 && rng.IntN(200) == 0:
			m.Clear()
			clear(model)
		default:
			if v, ok := m.Get(k); v != old || ok != there {
				t.Fatalf("Get(%v) is %d, %v; want %d, %v", k, v, ok, old, there)
			}
		}
		if i%50 != 0 && f != 0 {
			continue
		}
		got, want := entries(m.All()), entries(maps.All(model))
		for v := range i + 1 {
			bits, ok := got[v]
			if wantBits, there := want[v]; ok != there || bits != wantBits {
				t.Fatalf("after %d operations, the last one with %v: the value %d has the key %x, %v; in Go's map %x, %v", i+1, k, v, bits, ok, wantBits, there)
			}
		}
		if m.Len() != len(model) {
			t.Fatalf("%d entries, Go's map has %d", m.Len(), len(model))
		}
	}
}

// TestOutsideManyNaNs puts 40,000 NaNs into a Map. Each has a hash of its own, so that insertions do not pass
// all the NaNs that are there.
func TestOutsideManyNaNs(t *testing.T) {
	for _, s := range floatShapes {
		t.Run(s.name, s.nans)
	}
}

func putManyNaNs[K comparable](t *testing.T, with func(f float64) K, of func(k K) float64) {
	const n = 40_000
	m := NewMap[K, int](openTest(t, arena.Config{}), 0)
	// The bits of a NaN are as they were put.
	nan := func(i int) K { return with(math.Float64frombits(0x7ff8<<48 | uint64(i)<<30)) }
	for i := range n {
		if _, inserted := m.Entry(nan(i)); !inserted {
			t.Fatalf("NaN %d was found", i)
		}
		m.Put(nan(i), i+1)
	}
	zeros := 0
	for _, v := range m.All() {
		if v == 0 {
			zeros++
		}
	}
	if m.Len() != 2*n || zeros != n {
		t.Fatalf("%d entries of %d, %d of them new ones of Entry", m.Len(), 2*n, zeros)
	}
	// Others are found among them, and go.
	for i := range 1000 {
		m.Put(with(float64(i)), -i-1)
	}
	for i := range 1000 {
		if v, ok := m.Get(with(float64(i))); !ok || v != -i-1 {
			t.Fatalf("Get(%d) is %d, %v", i, v, ok)
		}
		if m.Delete(nan(i)) || m.Lookup(nan(i)) != nil || !m.Delete(with(float64(i))) {
			t.Fatalf("a NaN was found, or %d was not", i)
		}
	}
	if m.Len() != 2*n {
		t.Fatalf("%d entries", m.Len())
	}
	// All gives each NaN once, while the table grows and others come and go.
	seen, i := make([]bool, n+1), 0
	for k, v := range m.All() {
		switch {
		case v == 0 || v < 0:
			continue
		case seen[v]:
			t.Fatalf("NaN %d comes twice", v)
		case math.Float64bits(of(k)) != math.Float64bits(of(nan(v-1))):
			t.Fatalf("NaN %d has the bits %x, put was %x", v, math.Float64bits(of(k)), math.Float64bits(of(nan(v-1))))
		}
		seen[v] = true
		for range 2 {
			i++
			m.Put(with(float64(i)), -i)
			m.Delete(with(float64(i - 9000)))
		}
	}
	for v := range n {
		if !seen[v+1] {
			t.Fatalf("NaN %d does not come", v+1)
		}
	}
	m.Clear()
	for k := range m.All() {
		t.Fatalf("after Clear %v comes", k)
	}
	if m.Len() != 0 {
		t.Fatalf("after Clear %d entries", m.Len())
	}
	m.Put(nan(0), 1)
	if m.Len() != 1 {
		t.Fatalf("%d entries instead of one", m.Len())
	}
}

// TestNaNsSpread counts the groups that entries with NaNs have passed between their homes and the groups where they
// lie: so many steps the insertions took.
func TestNaNsSpread(t *testing.T) {
	const n = 40_000
	m := NewMap[float64, int](openTest(t, arena.Config{}), 0)
	for i := range n {
		m.Put(math.NaN(), i)
	}
	r, passed := m.root, 0
	for number := range r.leaves {
		l := r.leafAt(number)
		for i := range l.groups {
			g := r.group(l, i, m.slotSize)
			for s := g.used(); s != 0; s &= s - 1 {
				e := slotAt[float64, int](g, s.first())
				for home := homeOf(m.storedHash(e, g.tag(s.first()), uint64(number)), l.groups); home != i; home = l.after(home) {
					passed++
				}
			}
		}
	}
	if m.check(); passed > 3*n {
		t.Errorf("%d entries passed %d groups", n, passed)
	}
}
