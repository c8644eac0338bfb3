package slab

import "math/bits"

// A size class is one size of slots. Up to 128 bytes there is one for each 16, beyond there are
// eight between a power of two and the next, so that an object of more than 128 bytes wastes at
// most an eighth of itself.
const (
	granule     = 16      // what every slot's size and address are multiples of
	largestSlot = 1 << 20 // objects beyond are large: each is a region of its own

	fineClasses = 8 // of 16 to 128 bytes
	stepBits    = 3 // 8 classes from a power of two to the next

	largestTabled = 8 << 10 // classNumbers has the sizes up to this one
)

// class describes a size class.
type class struct {
	size      uint32 // of a slot, in bytes
	pitch     uint32 // from a slot to the next, in bytes
	slots     uint32 // of a slab
	units     uint32 // of a slab
	maxCached uint32 // slots that a magazine may hold
	magic     uint64 // 2^64/pitch, rounded up: see slotAt
}

// zeroClass is the class of objects of no bytes in hardened heaps: its slots are places in a slab that is
// inaccessible as a whole. Other heaps hand out 16 bytes.
const (
	zeroClass = 0
	zeroPitch = 64 // bytes, so that even these objects can be aligned to cache lines
)

// classes has the size classes, by number. Classes of objects that have bytes are numbered from 1. The array
// has an element for each uint8, so that looking one up needs no bounds check.
var classes = func() (table [256]class) {
	table[zeroClass] = class{pitch: zeroPitch, slots: unit / zeroPitch, units: 1, maxCached: fullMagazine}
	for i, row := range classTable {
		table[i+1] = class{size: row.size, pitch: row.size, slots: row.slots, units: row.units, maxCached: row.maxCached}
	}
	for i := range table {
		if k := &table[i]; k.pitch > 0 {
			k.magic = ^uint64(0)/uint64(k.pitch) + 1
		}
	}
	return table
}()

// classNumbers has the class of each size up to largestTabled, by the number of granules.
var classNumbers = func() (table [largestTabled/granule + 1]uint8) {
	for i := range table {
		table[i] = computeClass(uint(max(i, 1)) * granule)
	}
	return table
}()

// classOf returns the number of the smallest class for a size, which is at most largestSlot.
func classOf(size uint) uint8 {
	if size <= largestTabled {
		return tabledClass(int(size))
	}
	return computeClass(size)
}

// tabledClass is classOf for a size that is at most largestTabled.
func tabledClass(size int) uint8 { return classNumbers[(uint(size)+granule-1)/granule] }

func computeClass(size uint) uint8 {
	if size <= fineClasses*granule {
		return uint8((max(size, 1) + granule - 1) / granule)
	}
	// The power of two below, and how many eighths of it are on top, rounded up.
	power := bits.Len(size-1) - 1
	eighths := (size - 1) >> (power - stepBits) & (1<<stepBits - 1)
	return uint8(fineClasses + (power-7)<<stepBits + int(eighths) + 1)
}

// slotAt returns the number of the slot that starts at an offset in a slab; exact is false if none starts
// there, and for a magic of 0.
//
// magic times off is off/pitch with a fraction of 64 bits, a little too large: less than one step
// of the fraction, as long as off has fewer than 32 bits. So the whole part is the slot, and the
// fraction is below magic if and only if nothing remains.
func slotAt(magic, off uint64) (slot uint64, exact bool) {
	slot, fraction := bits.Mul64(magic, off)
	return slot, fraction < magic
}
