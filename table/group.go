package table

import (
	"math/bits"
	"unsafe"
)

// A group is a header of 16 bytes and 15 slots. A header has a byte for each slot: the tag of the entry in it, 7 bits of its hash, which is
// not 0; and one bit that says whether the entry is displaced: its home is an earlier group. The byte of a free slot
// is 0. The last byte says which entries have passed the group because it was full: three bits of the hash choose one of its 8 bits. A search
// goes on to the next group only if that bit is set.
//
//	byte 0  1  2  3  4  5  6  7 │ 8  9 10 11 12 13 14 15
//	slot 0  2  4  6  8 10 12 14 │ 1  3  5  7  9 11 13 passed
//	     even                   │ odd
//
// All slots are looked at with two words. A set of slots is a word with 4 bits for each slot, of which one
// is used: slot i is bit 4i+3. Even and odd slots are in different words so that the results of both fit
// into one, and the number of a slot is the position of its bit divided by 4.
//
// Small entries have a quarter of their group where they lie if there is room: two bits of the hash choose it. A group of
// entries of 16 bytes is 4 cache lines, its quarters:
//
//	byte 0        16       32       48       64               128              192              256
//	     │ header │ slot 0 │ slot 1 │ slot 2 │ slots 3 to 6   │ slots 7 to 10  │ slots 11 to 14 │
//
// A search asks for the line of the quarter before it has seen the header, so it waits for both at a time. In a table that was filled, 5 of
// 6 entries lie in their quarter; in one whose entries have all been replaced, half of them.
type group struct {
	header *[2]uint64
	slots  unsafe.Pointer
}

const (
	groupSlots = 15
	headerSize = unsafe.Sizeof([2]uint64{})

	displaced     = 0x80
	lowBits       = 0x0101010101010101
	highBits      = 0x8080808080808080
	displacedTags = highBits // the bits that make tags those of displaced entries
)

// tagOf returns the tag of a hash. Its bits are well mixed, and choose neither the leaf nor the group. A tag
// is neither 0 nor 1.
func tagOf(hash uint64) uint64 {
	tag := hash >> tagShift & (displaced - 1)
	return tag + (tag-2)>>63*2 // adds 2 to 0 and 1, without a branch
}

const tagShift = 24

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

// firstOf returns the address of the first slot of a set: at(s.first(), slotSize), two instructions shorter.
func (g group) firstOf(s slotSet, slotSize uintptr) unsafe.Pointer {
	if slotSize%4 != 0 {
		return g.at(s.first(), slotSize)
	}
	return unsafe.Add(g.slots, uintptr(bits.TrailingZeros64(uint64(s)))*(slotSize/4)-slotSize/4*3)
}

// smallSlot is the size of the largest entries that have a quarter.
const smallSlot = 16

// quarterOf returns the quarter of entries with a hash.
func quarterOf(hash uint64) uint64 { return hash >> (tagShift + 5) & 3 }

// quarter returns an address in a quarter.
func (g group) quarter(q uint64, slotSize uintptr) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(g.header), uintptr(q)*4*slotSize))
}

// choose returns the slot of a set of free ones that an entry gets: one of its quarter if there is one.
func (s slotSet) choose(hash uint64, slotSize uintptr) uintptr {
	if slotSize <= smallSlot {
		near := s & (0xffff << (quarterOf(hash) * 16) >> 4)
		s = near | s&slotSet(int64(near-1)>>63) // all of s if near is empty, without a branch
	}
	return s.first()
}

// classShift and classes: see iterate.go.
const (
	classShift = 2
	classes    = displaced >> classShift
)

// inClass returns the slots whose tags have the given high bits.
func inClass(even, odd uint64, class uint64) slotSet {
	const mask = (classes - 1) * lowBits
	even = even>>classShift&mask ^ class*lowBits
	odd = odd>>classShift&mask ^ class*lowBits
	return slotsOf(^(even + highBits - lowBits), ^(odd + highBits - lowBits))
}

// groupAt returns group i of a leaf; of a leaf without memory, any i. A block has 1<<shift groups.
func groupAt(base unsafe.Pointer, l *leaf, i, shift uint32, slotSize uintptr) group {
	return groupIn(base, l, i, shift, 1<<(shift&31)-1, slotSize)
}

// groupIn is groupAt for a caller that has the number that follows from shift: see root.
func groupIn(base unsafe.Pointer, l *leaf, i, shift, inBlock uint32, slotSize uintptr) group {
	block := *(*uint32)(unsafe.Add(unsafe.Pointer(&l.blocks), uintptr(i>>(shift&31))*4))
	at := unsafe.Add(base, uintptr(block)*blockUnit+uintptr(i&inBlock)*groupSizeOf(slotSize))
	return group{(*[2]uint64)(at), unsafe.Add(at, headerSize)}
}

// words returns the header.
func (g group) words() (even, odd uint64) { return g.header[0], g.header[1] }

// used returns the slots that have an entry.
func (g group) used() slotSet { return usedSlots(g.words()) }

// free returns the slots that have no entry.
func (g group) free() slotSet { return freeSlots(g.words()) }

// at returns the address of a slot.
func (g group) at(slot, slotSize uintptr) unsafe.Pointer { return unsafe.Add(g.slots, slot*slotSize) }

// set puts the tag of a hash into a free slot. It writes a whole word, because a search that follows at once reads
// whole words, and would have to wait for a byte.
func (g group) set(slot uintptr, hash uint64, isDisplaced bool) {
	tag := tagOf(hash)
	if isDisplaced {
		tag |= displaced
	}
	g.header[slot&1] |= tag << (slot / 2 * 8 & 63)
}

// clear makes a slot free.
func (g group) clear(slot uintptr) { g.header[slot&1] &^= 0xff << (slot / 2 * 8 & 63) }

// tag returns the tag of a slot, without displaced.
func (g group) tag(slot uintptr) uint64 { return tagIn(g.header[0], g.header[1], slot) }

// tagIn is tag for a header.
func tagIn(even, odd uint64, slot uintptr) uint64 {
	word := even
	if slot&1 != 0 {
		word = odd
	}
	return word >> (slot / 2 * 8 & 63) & (displaced - 1)
}

// isDisplaced tells whether the entry in a slot is displaced.
func (g group) isDisplaced(slot uintptr) bool {
	return g.header[slot&1]>>(slot/2*8&63)&displaced != 0
}

// passed returns the bits of entries that have passed the group: 0 if none has.
func (g group) passed() uint64 { return g.header[1] >> 56 }

// passKind returns the three bits of a hash that choose a bit of passed. They are bits of the tag.
func passKind(hash uint64) uint64 { return hash >> (tagShift + kindShift) & (passKinds - 1) }

const (
	kindShift = 2
	passKinds = 8
)

// passes tells whether an entry with the hash may lie in a group behind the one with the header word odd.
func passes(odd, hash uint64) bool { return odd>>(passKind(hash)|56)&1 != 0 }

// setPassed says that an entry with the hash has passed the group.
func (g group) setPassed(hash uint64) { g.header[1] |= 1 << (passKind(hash) | 56) }

// clearPassed says that no entry of the kind of the hash has passed the group.
func (g group) clearPassed(hash uint64) { g.header[1] &^= 1 << (passKind(hash) | 56) }

// displacedKind returns the slots whose entries are displaced, and of the kind of a hash.
func displacedKind(even, odd, hash uint64) slotSet {
	const mask = (passKinds - 1) * lowBits
	kind := passKind(hash) * lowBits
	return slotsOf(^(even>>kindShift&mask^kind+highBits-lowBits)&even, ^(odd>>kindShift&mask^kind+highBits-lowBits)&odd)
}

// groupSizeOf returns the bytes of a group: its slots and its header.
func groupSizeOf(slotSize uintptr) uintptr { return headerSize + groupSlots*slotSize }
