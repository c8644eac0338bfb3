package table

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"
)

func TestPartsOf(t *testing.T) {
	type inner struct {
		A uint8
		B uint32
	}
	for _, c := range []struct {
		t     reflect.Type
		want  []part
		plain bool
	}{
		{reflect.TypeFor[uint64](), []part{{0, 8, false}}, true},
		{reflect.TypeFor[[1 << 30]byte](), []part{{0, 1 << 30, false}}, true},
		{reflect.TypeFor[struct{ A, B uint32 }](), []part{{0, 8, false}}, true},
		{reflect.TypeFor[inner](), []part{{0, 1, false}, {4, 4, false}}, false},
		{reflect.TypeFor[[2]inner](), []part{{0, 1, false}, {4, 5, false}, {12, 4, false}}, false},
		{reflect.TypeFor[complex64](), []part{{0, 4, true}, {4, 4, true}}, false},
		{reflect.TypeFor[struct{ A, _, B int16 }](), []part{{0, 2, false}, {4, 2, false}}, false},
		{reflect.TypeFor[struct{ _ int16 }](), nil, false},
		{reflect.TypeFor[struct{}](), nil, true},
	} {
		got := partsOf(c.t)
		if !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 || plain(got, c.t.Size()) != c.plain {
			t.Errorf("%v: %v, plain %v; want %v, %v", c.t, got, plain(got, c.t.Size()), c.want, c.plain)
		}
	}
}

// TestHashSpreads hashes keys that differ in few bits. Their groups and their leaves must be filled as evenly as those of
// random keys. The seeds are the same in each run: one in some thousand is beyond the bounds.
func TestHashSpreads(t *testing.T) {
	const n, groups, leaves = 1 << 16, 1 << 13, 1 << 8
	rounds := 40 // some seeds are worse than others
	if testing.Short() {
		rounds = 8
	}
	for name, hash := range map[string]func(s seed, i uint64) uint64{
		"counting":        func(s seed, i uint64) uint64 { return s.word(i) },
		"counting by 4 K": func(s seed, i uint64) uint64 { return s.word(i << 12) },
		"high bits":       func(s seed, i uint64) uint64 { return s.word(i << 48) },
		"few bits":        func(s seed, i uint64) uint64 { return s.word(i & (i << 20) * 0x100000001) },
		"reversed":        func(s seed, i uint64) uint64 { return s.word(bits.Reverse64(i)) },
		"pairs":           func(s seed, i uint64) uint64 { return s.pair(i&255, i>>8) },
		"bytes": func(s seed, i uint64) uint64 {
			b := [24]byte{}
			binary.BigEndian.PutUint64(b[3:], i)
			return s.bytes(unsafe.Pointer(&b), 24)
		},
		"short": func(s seed, i uint64) uint64 {
			b := [3]byte{byte(i), 7, byte(i >> 8)}
			return s.bytes(unsafe.Pointer(&b), 3)
		},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		for range rounds {
			s := seed{r.Uint64(), r.Uint64() | 1}
			keys := map[uint64]bool{}
			var full [groups]int
			var inLeaf [leaves]int
			var tags [displaced]int
			for i := range uint64(n) {
				h := hash(s, i)
				if keys[h] {
					continue
				}
				keys[h] = true
				g, _ := bits.Mul64(h, groups)
				full[g]++
				inLeaf[leafBits(h)%leaves]++
				tags[tagOf(h)]++
			}
			square := 0.0
			mean := float64(len(keys)) / groups
			for _, f := range full {
				square += (float64(f) - mean) * (float64(f) - mean) / mean
			}
			if square/groups > 1.3 { // 1 is random; the standard deviation is 0.016
				t.Errorf("%s: groups are %.2f times as uneven as random ones", name, square/groups)
			}
			square, mean = 0, float64(len(keys))/leaves
			for _, n := range inLeaf {
				square += (float64(n) - mean) * (float64(n) - mean) / mean
			}
			if square/leaves > 4 { // leaves deviate twice as far: they have room for that
				t.Errorf("%s: leaves are %.2f times as uneven as random ones", name, square/leaves)
			}
			for tag, n := range tags {
				if tag > 3 && n > 2*len(keys)/displaced+40 {
					t.Errorf("%s: %d of %d keys have the tag %d", name, n, len(keys), tag)
				}
			}
		}
	}
}

// TestNaNHash keeps the tag and the leaf of an entry, and computes its hash from them: whatever the table used of the
// hash stays the same.
func TestNaNHash(t *testing.T) {
	var tags, lows [displaced]int
	const n = 1 << 16
	for range n {
		h := randomHash()
		tag := tagOf(h)
		tags[tag]++
		lows[h%displaced]++
		if again := nanHash(tag, h); again != h || tagOf(again) != tag {
			t.Fatalf("%x, then %x", h, again)
		}
		for _, bits := range []uint{0, 1, 5, tagShift} { // of the low bits only those of the leaf are known
			again := nanHash(tag, h&(1<<bits-1))
			if again>>tagShift != h>>tagShift || (again^h)&(1<<bits-1) != 0 {
				t.Fatalf("%x, then %x with %d bits kept", h, again, bits)
			}
		}
	}
	for i := range displaced {
		if tags[i] > 2*n/displaced && i > 3 || lows[i] > 2*n/displaced {
			t.Errorf("%d of %d hashes have the tag %d, %d these low bits", tags[i], n, i, lows[i])
		}
	}
}

// TestHashOfParts hashes keys with and without NaNs.
func TestHashOfParts(t *testing.T) {
	type key struct {
		A byte
		B [2]float32
		C complex128
	}
	s, parts := newSeed(), partsOf(reflect.TypeFor[key]())
	nan, zero := math.NaN(), 0.0
	hash := func(k key) uint64 { return s.parts(unsafe.Pointer(&k), parts) }
	for _, k := range []key{{B: [2]float32{float32(nan), 0}}, {B: [2]float32{1, float32(nan)}}, {C: complex(nan, 1)}, {C: complex(1, -nan)}} {
		hashes := map[uint64]bool{}
		for range 100 {
			h := hash(k)
			if hashes[h] = true; h != nanHash(tagOf(h), h) {
				t.Errorf("%v has the hash %x, which its tag does not keep", k, h)
			}
		}
		if len(hashes) < 99 {
			t.Errorf("%v has %d hashes in 100 calls", k, len(hashes))
		}
	}
	if h := hash(key{}); h != hash(key{B: [2]float32{0, float32(-zero)}, C: complex(-zero, 0)}) || h == hash(key{B: [2]float32{0, float32(math.Inf(-1))}}) {
		t.Errorf("the hash of 0 is %x", h)
	}
}
