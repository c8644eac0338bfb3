package table

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// A group is 15 slots for entries, and a header of 16 bytes, which lies apart. The header has a byte for
// each slot: the tag of the key in it, 7 bits of its hash, which is not 0; and one bit that says whether the
// entry is displaced, which means that its home is an earlier group. The byte of a free slot is 0. The last
// byte of the header counts overflows: entries that passed this group because it was full.
//
//	byte 0  1  2  3  4  5  6  7 │ 8  9 10 11 12 13 14 15
//	slot 0  2  4  6  8 10 12 14 │ 1  3  5  7  9 11 13 overflow
//	     even                   │ odd
//
// All slots are looked at with two words. A set of slots is a word with 4 bits for each slot, of which one
// is used: slot i is bit 4i+3. Even and odd slots are in different words so that the results of both fit
// into one, and the number of a slot is the position of its bit divided by 4.
const (
	groupSlots = 15
	headerSize = 16

	displaced     = 0x80
	lowBits       = 0x0101010101010101
	highBits      = 0x8080808080808080
	displacedTags = highBits // the bits that make tags those of displaced entries

	// The overflow count stays at overflowMost once it is there: then every search passes the group until
	// the group is moved.
	overflowByte = headerSize - 1
	overflowMost = 255
)

// tagOf returns the tag of a hash. Its bits are well mixed, and are not those that choose the group. A tag
// is neither 0 nor 1.
func tagOf(hash uint64) uint8 {
	tag := uint32(hash>>tagShift) & (displaced - 1)
	return uint8(tag + (tag-2)>>31*2) // adds 2 to 0 and 1, without a branch
}

const tagShift = 24

// words returns the header of a group.
func words(header unsafe.Pointer) (even, odd uint64) {
	h := (*[headerSize]byte)(header)
	return binary.LittleEndian.Uint64(h[:8]), binary.LittleEndian.Uint64(h[8:])
}

func setWords(header unsafe.Pointer, even, odd uint64) {
	h := (*[headerSize]byte)(header)
	binary.LittleEndian.PutUint64(h[:8], even)
	binary.LittleEndian.PutUint64(h[8:], odd)
}

// slotSet is a set of slots of one group.
type slotSet uint64

// matching returns the slots with a tag; each byte of tags is that tag. Rarely it returns other slots, too:
// those whose byte differs from the tag in the lowest bit, where the subtraction borrowed. It never returns a
// free slot, because no tag is 1.
func matching(even, odd, tags uint64) slotSet {
	even ^= tags
	odd ^= tags
	return slotsOf((even-lowBits)&^even, (odd-lowBits)&^odd)
}

// usedSlots returns the slots that have an entry.
func usedSlots(even, odd uint64) slotSet {
	const rest = ^uint64(highBits)
	return slotsOf(even&rest+rest, odd&rest+rest)
}

// displacedSlots returns the slots whose entry is displaced.
func displacedSlots(even, odd uint64) slotSet { return slotsOf(even, odd) }

// slotsOf makes a set of the high bits of all bytes that belong to slots.
func slotsOf(even, odd uint64) slotSet { return slotSet(even&highBits>>4 | odd&(highBits>>8)) }

// freeSlots returns the slots that have no entry.
func freeSlots(even, odd uint64) slotSet {
	const all = highBits>>4 | highBits>>8
	return usedSlots(even, odd) ^ all
}

func (s slotSet) first() uintptr { return uintptr(bits.TrailingZeros64(uint64(s))) / 4 }
func (s slotSet) count() int     { return bits.OnesCount64(uint64(s)) }

// setTag writes the tag of a slot. It writes a whole word, because a search that follows at once reads
// whole words, and would have to wait for a byte.
func setTag(header unsafe.Pointer, slot uintptr, tag uint8) {
	word := (*[8]byte)(unsafe.Add(header, slot&1*8))[:]
	shift := slot / 2 * 8
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)&^(0xff<<shift)|uint64(tag)<<shift)
}

// putTag writes the tag of a slot in a header that is not read soon.
func putTag(header unsafe.Pointer, slot uintptr, tag uint8) {
	*(*uint8)(unsafe.Add(header, slot&1*8+slot/2)) = tag
}

func tagAt(header unsafe.Pointer, slot uintptr) uint8 {
	return *(*uint8)(unsafe.Add(header, slot&1*8+slot/2))
}

func overflow(header unsafe.Pointer) uint8 { return (*[headerSize]byte)(header)[overflowByte] }

// addOverflow counts one more entry that passed the group.
func addOverflow(header unsafe.Pointer) {
	if p := &(*[headerSize]byte)(header)[overflowByte]; *p != overflowMost {
		*p++
	}
}

// dropOverflow counts one entry less.
func dropOverflow(header unsafe.Pointer) {
	if p := &(*[headerSize]byte)(header)[overflowByte]; *p != overflowMost {
		*p--
	}
}
