// Package sizeclass says which sizes of slots there are, and which one an object gets.
//
// A size class is one size of slots. Up to 128 bytes there is one for each multiple of 16; beyond there are
// eight between a power of two and the next, up to 1 MiB. So an object of more than 128 bytes wastes at most
// an eighth of itself.
//
//	16 32 48 … 112 128   144 160 … 240 256   288 320 … 480 512   …   1 MiB
//	└─ steps of 16 ──┘   └─ steps of 16 ─┘   └─ steps of 32 ─┘
//
// A slab is a run of equal slots: table.go says how many units of 64 KiB it has, so that its end, where no
// slot fits, is an eighth of it at most. The smallest slab that holds to this wins.
//
// # Blocks
//
// A slab is also divided into blocks of 2^Shift bytes, the largest power of two that is not above the
// distance of two slots, and not above a unit. So at most one slot starts in a block, and it starts at a
// multiple of an eighth of the block. Package slots keeps one byte for each block.
//
//	slots of 48 bytes   │ slot       │ slot       │ slot       │ slot       │
//	blocks of 32        │ block │ block │ block │ block │ block │ block │
//	a slot starts at      0/8     4/8     –       0/8     4/8     –
//
// The tables are made when the program starts and never change: any goroutine may read them.
package sizeclass

import (
	"math/bits"

	"github.com/seed-9a6c551e/offheap/slab/internal/units"
)

const (
	Granule = 16      // bytes: sizes and addresses of slots are multiples of it
	Largest = 1 << 20 // bytes: larger objects fit into no slot

	// Cached is above the numbers of the classes whose slots caches keep: those of up to 16 KiB.
	Cached = 65

	// MostCached is the most slots of any class that a cache keeps.
	MostCached = 128

	// LargestTabled is the largest size that Tabled takes.
	LargestTabled = 8 << 10

	unitBits = units.Bits

	fineClasses = 8 // of 16 to 128 bytes
	stepBits    = 3 // 8 classes from a power of two to the next
)

// Class describes a size class.
type Class struct {
	Size      uint32 // of a slot, in bytes
	Pitch     uint32 // from a slot to the next, in bytes
	Slots     uint32 // number of slots of a slab
	Units     uint32 // number of units of a slab
	MaxCached uint32 // number of slots that a cache may keep; 0 from class Cached on
	Shift     uint8  // a block has 2^Shift bytes
}

// Blocks returns the number of blocks of a slab.
func (k *Class) Blocks() uint32 { return k.Units << (unitBits - k.Shift) }

// Zero is the class of objects of no bytes in hardened heaps: its slots are places in a slab that is
// inaccessible as a whole. Other heaps hand out 16 bytes.
const (
	Zero      = 0
	ZeroPitch = 64 // bytes, so that even these objects can be aligned to cache lines
)

// Number is the number of classes, Zero included.
const Number = 1 + len(sizes)

// Table has the classes by number. Classes of objects that have bytes are numbered from 1, the smallest first.
// The array has an element for each uint8, so that looking one up needs no bounds check.
var Table = func() (table [256]Class) {
	table[Zero] = Class{Pitch: ZeroPitch, Slots: 1 << unitBits / ZeroPitch, Units: 1, MaxCached: MostCached}
	for i, row := range sizes {
		table[i+1] = Class{Size: row.size, Pitch: row.size, Slots: row.slots, Units: row.units, MaxCached: row.maxCached}
	}
	for i := range table[:Number] {
		k := &table[i]
		k.Shift = uint8(min(bits.Len32(k.Pitch)-1, unitBits))
	}
	return table
}()

// numbers has the class of each size up to LargestTabled, by the number of granules.
var numbers = func() (table [LargestTabled/Granule + 1]uint8) {
	for i := range table {
		table[i] = compute(uint(max(i, 1)) * Granule)
	}
	return table
}()

// offsets has 64 times the class of each size up to LargestTabled, by the number of granules.
var offsets = func() (table [len(numbers)]uint16) {
	for i, c := range numbers {
		table[i] = uint16(c) * 64
	}
	return table
}()

// Tabled returns 64 times the class of a size, which is at most LargestTabled: it saves the fast path, which has
// 64 bytes for each class, the multiplication.
//
//go:nosplit
func Tabled(size int) uintptr {
	return uintptr(offsets[(uint(size)+Granule-1)/Granule])
}

// Of returns the number of the smallest class for a size, which is at most Largest.
func Of(size uint) uint8 {
	if size <= LargestTabled {
		return numbers[(size+Granule-1)/Granule]
	}
	return compute(size)
}

// For returns the number of the smallest class for a size and an alignment, which is a power of two; ok is
// false if no class serves. Slots lie at multiples of their size from the start of a unit, so it is the
// smallest class whose size is a multiple of align.
func For(size, align int) (c uint8, ok bool) {
	if uint(size) > Largest || align > 1<<unitBits {
		return 0, false
	}
	if align <= Granule {
		return Of(uint(size)), true
	}
	for c := Of(uint(max(size, align))); int(c) < Number; c++ {
		if Table[c].Size%uint32(align) == 0 {
			return c, true
		}
	}
	return 0, false
}

// CachedAt returns 64 times a class, or 64 times Cached if caches keep no slots of it.
func CachedAt(c uint8) uintptr { return uintptr(min(c, Cached)) * 64 }

// compute computes the class of a size, which is at most Largest.
func compute(size uint) uint8 {
	if size <= fineClasses*Granule {
		return uint8((max(size, 1) + Granule - 1) / Granule)
	}
	// The power of two below, and how many eighths of it are on top, rounded up.
	power := bits.Len(size-1) - 1
	eighths := (size - 1) >> (power - stepBits) & (1<<stepBits - 1)
	return uint8(fineClasses + (power-7)<<stepBits + int(eighths) + 1)
}
