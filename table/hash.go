package table

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"unsafe"
)

// seed makes the hashes of one table differ from those of all others, so that nobody can prepare keys that
// have the same home.
type seed struct{ a, b uint64 }

func newSeed() seed { return seed{rand.Uint64(), rand.Uint64() | 1} }

// golden is odd and has no structure: the digits of the golden ratio.
const golden = 0x9e3779b97f4a7c15

// fold multiplies to 128 bits and combines the halves: every bit of the factors reaches the middle of the
// product, and from there the whole result.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// word hashes 8 bytes. The second fold is there because a table orders entries by the high bits of a hash, and chooses leaves by the low ones:
// after one, these are evenly spaced for evenly spaced keys, in steps that can meet.
func (s seed) word(x uint64) uint64 { return fold(fold(x^s.a, s.b), golden) }

// pair hashes 16 bytes.
func (s seed) pair(x, y uint64) uint64 { return fold(fold(x^s.a, y^s.b), golden) }

// memory hashes a key all of whose bytes count.
func (s seed) memory(key unsafe.Pointer, size uintptr) uint64 {
	switch size {
	case 4:
		return s.word(load4(key, 0))
	case 8:
		return s.word(load8(key, 0))
	case 16:
		return s.pair(load8(key, 0), load8(key, 8))
	}
	return s.bytes(key, size)
}

// bytes hashes any number of bytes.
func (s seed) bytes(p unsafe.Pointer, n uintptr) uint64 {
	h := s.a ^ uint64(n)*golden
	var x, y uint64
	switch {
	case n > 16:
		for ; n > 16; n -= 16 {
			h = fold(load8(p, 0)^s.b, load8(p, 8)^h)
			p = unsafe.Add(p, 16)
		}
		// The last 16 bytes; some of them were hashed before.
		x, y = load8(p, int(n)-16), load8(p, int(n)-8)
	case n >= 8:
		x, y = load8(p, 0), load8(p, int(n)-8)
	case n >= 4:
		x, y = load4(p, 0), load4(p, int(n)-4)
	case n > 0:
		x = uint64(load1(p, 0)) | uint64(load1(p, n/2))<<8 | uint64(load1(p, n-1))<<16
	}
	return fold(fold(x^h, y^s.b), golden)
}

func load8(p unsafe.Pointer, at int) uint64 {
	return binary.NativeEndian.Uint64((*[8]byte)(unsafe.Add(p, at))[:])
}

func load4(p unsafe.Pointer, at int) uint64 {
	return uint64(binary.NativeEndian.Uint32((*[4]byte)(unsafe.Add(p, at))[:]))
}

func load1(p unsafe.Pointer, at uintptr) byte { return *(*byte)(unsafe.Add(p, at)) }

// hasher says how the keys of a table are hashed.
type hasher struct {
	kind  kind
	parts []part // of the key, for byParts
}

type kind uint8

const (
	byBytes      kind = iota // all bytes of the key
	byParts                  // the parts
	byStoredHash             // a stringKey has half of its hash
)

// typ returns the name of the type of tables that have this hasher.
func (h *hasher) typ() string {
	if h.kind == byStoredHash {
		return "Strings"
	}
	return "Map"
}

// part is a stretch of a key that counts when keys are compared. Padding and blank fields do not count.
// Floats are compared by value: so 0 and -0 have the same hash.
type part struct {
	off, size uintptr
	float     bool
}

// partsOf returns the parts of a key that count, adjacent stretches joined.
func partsOf(t reflect.Type) []part { return addParts(nil, t, 0) }

func addParts(parts []part, t reflect.Type, off uintptr) []part {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return append(parts, part{off, t.Size(), true})
	case reflect.Complex64, reflect.Complex128:
		half := t.Size() / 2
		return append(parts, part{off, half, true}, part{off + half, half, true})
	case reflect.Array:
		if plain(partsOf(t.Elem()), t.Elem().Size()) {
			break
		}
		for i := range t.Len() {
			parts = addParts(parts, t.Elem(), off+uintptr(i)*t.Elem().Size())
		}
		return parts
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.Name != "_" {
				parts = addParts(parts, f.Type, off+f.Offset)
			}
		}
		return parts
	}
	if n := len(parts) - 1; n >= 0 && !parts[n].float && parts[n].off+parts[n].size == off {
		parts[n].size += t.Size()
		return parts
	}
	return append(parts, part{off, t.Size(), false})
}

// plain tells whether all bytes of a key count, as they are.
func plain(parts []part, size uintptr) bool {
	return size == 0 || len(parts) == 1 && parts[0] == part{0, size, false}
}

// parts hashes the parts of a key that count. A key with a NaN gets a random hash.
func (s seed) parts(key unsafe.Pointer, parts []part) uint64 {
	h := s.a
	for _, p := range parts {
		at := unsafe.Add(key, p.off)
		var x uint64
		switch {
		case !p.float:
			x = s.bytes(at, p.size)
		case p.size == 4:
			switch f := *(*float32)(at); {
			case f != f:
				return randomHash()
			case f != 0:
				x = load4(at, 0)
			}
		default:
			switch f := *(*float64)(at); {
			case f != f:
				return randomHash()
			case f != 0:
				x = load8(at, 0)
			}
		}
		h = fold(x^h, s.b) + x
	}
	return fold(fold(h, s.b), golden)
}

// A key with a NaN does not equal itself, so no search finds its entry, and every such entry may have a hash of its
// own: otherwise all of them would have one home. The hash is random, and cannot be computed from the key again.
// But no search needs the tag of the entry either, so the tag is the place that the hash is kept in: it is the
// seven highest bits of the hash, too. The low bits are known from the leaf that the entry lies in.
//
//	63     57        31     24            0
//	├─ tag ─┼─── 0 ───┼─ tag ─┼─ low bits ──┤

// randomHash returns a hash for a new entry whose key has a NaN.
func randomHash() uint64 { return nanHash(tagOf(rand.Uint64()), rand.Uint64()) }

// nanHash returns the hash of an entry whose key has a NaN. Of low the bits count that are below the tag.
func nanHash(tag, low uint64) uint64 {
	return low&(1<<tagShift-1) | tag<<tagShift | tag<<(64-7)
}
