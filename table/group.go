package table

import (
	"math/bits"
	"unsafe"
)

// A group is a header and seven slots behind it. With entries of 16 bytes it is 128 bytes, two cache lines.
//
//	byte   0  1  2  3  4  5  6    7          8 … 15                  16 …
//	tags   0  1  2  3  4  5  6    flags      passed: 16 × 4 bits     slots 0 … 6
//
// A tag is 8 bits of the hash of the slot's entry, and 0 in a free slot. Flag i says that the entry in slot i is
// displaced: it has its home in an earlier group. Flag 7 says that the group may be the home of entries that
// are displaced. passed counts the entries that an insertion found no room for here, and that lie in
// a later group: 16 counters, chosen by 4 bits of the hash. So nearly every search for an absent key ends in its home.
type header struct {
	tags   uint64
	passed uint64
}

const (
	groupSlots = 7
	headerSize = unsafe.Sizeof(header{})

	lowBits  = 0x0101010101010101
	awayFlag = 1 << 63                 // flag 7
	highBits = 0x8080808080808080 >> 8 // the highest bit of each tag
	restBits = 0x7f7f7f7f7f7f7f7f >> 8 // the others
	tagShift = 24                      // of the hash, to its tag

	// A counter of passed entries stays at passedMost once it is there: then searches go on until the leaf is rebuilt.
	passedMost = 15
)

// tagOf returns the tag of a hash: never 0, which is a free slot, nor 1, see matching.
func tagOf(hash uint64) uint64 {
	tag := uint32(hash >> tagShift & 0xff)
	return uint64(tag + (tag-2)>>31*2) // adds 2 to 0 and 1, without a branch
}

// slotSet is a set of the slots of one group: bit 8i+7 is slot i.
type slotSet uint64

// matching returns the slots with a tag; each byte of pattern is that tag. Rarely it returns other slots, too: those
// whose tag differs in the lowest bit, where the subtraction borrowed. It never returns a free slot, because no tag is 1.
func matching(tags, pattern uint64) slotSet {
	x := tags ^ pattern
	return slotSet((x - lowBits) &^ x & highBits)
}

// usedSlots returns the slots that have an entry.
func usedSlots(tags uint64) slotSet { return slotSet((tags&restBits + restBits | tags) & highBits) }

// freeSlots returns the slots that have no entry.
func freeSlots(tags uint64) slotSet { return usedSlots(tags) ^ highBits }

// displacedSlots returns the slots whose entry is displaced.
func displacedSlots(tags uint64) slotSet {
	d := tags >> 56 & 0x7f
	// Bit i goes to bit 8i+7: 7 copies of d, 7 bits apart, put each bit there once.
	return slotSet(d * (1<<7 | 1<<14 | 1<<21 | 1<<28 | 1<<35 | 1<<42 | 1<<49) & highBits)
}

func (s slotSet) first() uintptr { return uintptr(bits.TrailingZeros64(uint64(s))) / 8 }
func (s slotSet) count() int     { return bits.OnesCount64(uint64(s)) }

// set puts a tag into a free slot.
func (h *header) set(slot uintptr, tag uint64, displaced bool) {
	h.tags |= tag << (slot * 8)
	if displaced {
		h.tags |= 1 << (56 + slot)
	}
}

// clear makes a slot free.
func (h *header) clear(slot uintptr) { h.tags &^= 0xff<<(slot*8) | 1<<(56+slot) }

// tag returns the tag of a slot.
func (h *header) tag(slot uintptr) uint64 { return h.tags >> (slot * 8) & 0xff }

// isDisplaced tells whether the entry in a slot is displaced.
func (h *header) isDisplaced(slot uintptr) bool { return h.tags>>(56+slot)&1 != 0 }

// passShift returns where the counter of a hash is in passed.
func passShift(hash uint64) uint64 { return hash >> (tagShift + 4 - 2) & (15 << 2) }

// passes tells whether an entry with the hash may lie in a later group.
func (h *header) passes(hash uint64) bool { return h.passed>>passShift(hash)&passedMost != 0 }

// addPassed counts one more entry that passed the group.
func (h *header) addPassed(hash uint64) {
	if h.passed>>passShift(hash)&passedMost != passedMost {
		h.passed += 1 << passShift(hash)
	}
}

// dropPassed counts one entry less.
func (h *header) dropPassed(hash uint64) {
	if h.passed>>passShift(hash)&passedMost != passedMost {
		h.passed -= 1 << passShift(hash)
	}
}

// groupSizeOf returns the bytes of a group. Groups are whole cache lines where that makes them at most an eighth larger.
func groupSizeOf(slotSize uintptr) uintptr {
	exact := (headerSize + groupSlots*slotSize + headerSize - 1) &^ (headerSize - 1)
	if lines := (exact + 63) &^ 63; (lines-exact)*8 <= exact {
		return lines
	}
	return exact
}
