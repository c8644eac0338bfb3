package table

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestGroup(t *testing.T) {
	for range 10000 {
		var header [headerSize]byte
		p := unsafe.Pointer(&header)
		var tags [groupSlots]uint8
		for i := range tags {
			if rand.IntN(3) > 0 {
				tags[i] = tagOf(uint64(rand.IntN(8))<<tagShift) | uint8(rand.IntN(2))*displaced
			}
			if rand.IntN(2) == 0 {
				setTag(p, uintptr(i), tags[i])
			} else {
				putTag(p, uintptr(i), tags[i])
			}
		}
		header[overflowByte] = uint8(rand.IntN(256)) // is no tag
		search := tagOf(uint64(rand.IntN(8)) << tagShift)
		even, odd := words(p)
		found, inUse, free, away := matching(even, odd, uint64(search)*lowBits), usedSlots(even, odd), freeSlots(even, odd), displacedSlots(even, odd)
		for i, tag := range tags {
			bit := slotSet(1) << (4*i + 3)
			if tagAt(p, uintptr(i)) != tag || (inUse&bit != 0) != (tag != 0) || (free&bit != 0) != (tag == 0) {
				t.Fatalf("slot %d of %v", i, header)
			}
			if tag == search && found&bit == 0 || found&bit != 0 && tag != search && tag != search^1 || (away&bit != 0) != (tag&displaced != 0) {
				t.Fatalf("searching %d finds %x, displaced are %x, in %v", search, found, away, header)
			}
		}
		if n := inUse.count() + free.count(); n != groupSlots {
			t.Fatalf("%d slots", n)
		}
		for s, want := inUse, uintptr(0); s != 0; s &= s - 1 {
			for tags[want] == 0 {
				want++
			}
			if s.first() != want {
				t.Fatalf("first is %d, want %d", s.first(), want)
			}
			want++
		}
	}
	var header [headerSize]byte
	p := unsafe.Pointer(&header)
	for n := range 300 {
		if want := min(n, overflowMost); int(overflow(p)) != want {
			t.Fatalf("%d overflows, %d counted", n, overflow(p))
		}
		addOverflow(p)
	}
	dropOverflow(p)
	if overflow(p) != overflowMost {
		t.Error("a count that may be too small was lowered")
	}
}
