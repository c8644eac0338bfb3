package table

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// A group is 15 slots for entries, and a header of 16 bytes, which lies apart. The header has a
// byte for each slot: 7 bits of the hash of the key that lies there, its tag, which is not 0, and a
// bit that says whether it is a stray, with its home in a group before; or 0 if the slot is empty.
// The last byte counts the entries that went past this group because it was full.
//
//	byte 0  1  2  3  4  5  6  7 │ 8  9 10 11 12 13 14 15
//	slot 0  2  4  6  8 10 12 14 │ 1  3  5  7  9 11 13 past
//	     even                   │ odd
//
// All slots are looked at with two words. A set of slots is a word with 4 bits for each, of which
// one is used: slot i is bit 4i+3. Even and odd slots are apart so that the two words fall into one
// another, and the slot's number is where the bit is, divided by 4.
const (
	groupSlots = 15
	headerSize = 16

	stray     = 0x80
	lows      = 0x0101010101010101
	highs     = 0x8080808080808080
	strayTags = highs // makes of the bytes of a tag those of a stray

	// past counts to pastMost and stays there: the group is then passed by every search
	// until it is emptied.
	pastByte = headerSize - 1
	pastMost = 255
)

// tagOf returns the tag for a hash, of bits that are well mixed and did not choose the group. It is
// neither 0 nor 1.
func tagOf(hash uint64) uint8 {
	tag := uint32(hash>>tagShift) & (stray - 1)
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

// matching returns the slots whose byte is that of tags, which has it everywhere. Rarely there are
// more: where a byte differs from it in the lowest bit, and the subtraction borrowed. An empty slot
// never is among them, because no tag is 1.
func matching(even, odd, tags uint64) slotSet {
	even ^= tags
	odd ^= tags
	return slots((even-lows)&^even, (odd-lows)&^odd)
}

// used returns the slots that have an entry.
func used(even, odd uint64) slotSet {
	const rest = ^uint64(highs)
	return slots(even&rest+rest, odd&rest+rest)
}

// strays returns the slots whose entry has its home in a group before.
func strays(even, odd uint64) slotSet { return slots(even, odd) }

// slots makes a set of the high bits of all bytes that belong to slots.
func slots(even, odd uint64) slotSet { return slotSet(even&highs>>4 | odd&(highs>>8)) }

// unused returns the others.
func unused(even, odd uint64) slotSet {
	const all = highs>>4 | highs>>8
	return used(even, odd) ^ all
}

func (s slotSet) first() uintptr { return uintptr(bits.TrailingZeros64(uint64(s))) / 4 }
func (s slotSet) count() int     { return bits.OnesCount64(uint64(s)) }

// setTag writes the tag of a slot. It writes a whole word: a search that follows at once reads
// whole words, and would have to wait for a byte.
func setTag(header unsafe.Pointer, slot uintptr, tag uint8) {
	word := (*[8]byte)(unsafe.Add(header, slot&1*8))[:]
	shift := slot / 2 * 8
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)&^(0xff<<shift)|uint64(tag)<<shift)
}

// putTag writes the tag of a slot, whose header is not read soon.
func putTag(header unsafe.Pointer, slot uintptr, tag uint8) {
	*(*uint8)(unsafe.Add(header, slot&1*8+slot/2)) = tag
}

func tagAt(header unsafe.Pointer, slot uintptr) uint8 {
	return *(*uint8)(unsafe.Add(header, slot&1*8+slot/2))
}

func past(header unsafe.Pointer) uint8 { return (*[headerSize]byte)(header)[pastByte] }

// addPast counts one more entry that went past the group.
func addPast(header unsafe.Pointer) {
	if p := &(*[headerSize]byte)(header)[pastByte]; *p != pastMost {
		*p++
	}
}

// dropPast counts one less.
func dropPast(header unsafe.Pointer) {
	if p := &(*[headerSize]byte)(header)[pastByte]; *p != pastMost {
		*p--
	}
}
