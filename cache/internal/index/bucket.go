package index

import (
	"math/bits"
	"unsafe"
)

// slotsPerBucket is as many slots as a cache line has room for.
const slotsPerBucket = 10

// Bucket has the slots of one CPU cache line.
type Bucket struct {
	tags   [slotsPerBucket]uint16
	passed uint16 // entries whose home is here or before, and that lie behind, because this bucket was full
	used   uint16 // slots, a bit each
	places [slotsPerBucket]uint32
}

const bucketSize = 64

var _ [bucketSize]byte = [unsafe.Sizeof(Bucket{})]byte{}

// lanes has a 1 in each of the four tags of a word.
const lanes = 0x0001_0001_0001_0001

// match returns a word whose highest bit of each 16 says that the tag there is equal. Above an equal one the bit may be
// set for another tag, too, so callers compare what the slot leads to.
func match(tags, tag uint64) uint64 {
	x := tags ^ tag*lanes
	return (x - lanes) &^ x & (lanes << 15)
}

// equal returns the slots whose tags are equal to tag, a bit each, and seldom a slot with another tag. Free slots may be
// among them.
func (b *Bucket) equal(tag uint16) (slots uint32) {
	t := uint64(tag)
	p := unsafe.Pointer(b)
	m0 := match(*(*uint64)(p), t)
	m1 := match(*(*uint64)(unsafe.Add(p, 8)), t)
	m2 := match(uint64(*(*uint32)(unsafe.Add(p, 16))), t) & (1<<32 - 1)
	if m0|m1|m2 == 0 {
		return 0
	}
	return fold(m0) | fold(m1)<<4 | fold(m2)<<8
}

// fold moves bits 15, 31, 47 and 63 of m to bits 0 to 3.
func fold(m uint64) uint32 {
	m >>= 15
	return uint32(m|m>>15|m>>30|m>>45) & 15
}

// room returns a free slot; ok is false if there is none.
func (b *Bucket) room() (slot int, ok bool) {
	slot = bits.TrailingZeros16(^b.used)
	return slot, slot < slotsPerBucket
}

// put fills a free slot.
func (b *Bucket) put(slot int, tag uint16, place uint32) {
	b.tags[slot], b.places[slot] = tag, place
	b.used |= 1 << slot
}

// remove makes a slot free.
func (b *Bucket) remove(slot int) {
	b.tags[slot], b.places[slot] = 0, 0
	b.used &^= 1 << slot
}

func lowest(slots uint32) int { return bits.TrailingZeros32(slots) }
