package table

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestGroup compares the operations on headers with a slice of tags.
func TestGroup(t *testing.T) {
	hashOf := func(tag uint64) uint64 { return tag<<tagShift | rand.Uint64()&^(0x7f<<tagShift) }
	count := func(s slotSet) int { return bits.OnesCount64(uint64(s)) }
	for range 20_000 {
		var header [2]uint64
		g := group{header: &header}
		header[1] = uint64(rand.IntN(256)) << 56 // the bits of passed are no tag
		passed := g.passed()
		var tags [groupSlots]uint64
		few := 2 + rand.Uint64N(126) // so that tags come again
		for range 40 {
			i := uintptr(rand.IntN(groupSlots))
			if tags[i] != 0 {
				g.clear(i)
				tags[i] = 0
				continue
			}
			tag, away := 2+(few+rand.Uint64N(4))%126, rand.IntN(2) == 0
			g.set(i, hashOf(tag), away)
			if tags[i] = tag; away {
				tags[i] |= displaced
			}
		}
		even, odd := g.words()
		search, class := 2+(few+rand.Uint64N(4))%126, rand.Uint64N(classes)
		found, foundAway := matching(even, odd, search*lowBits), matching(even, odd, search*lowBits|displacedTags)
		used, free, away, inClass := g.used(), g.free(), displacedSlots(even, odd), inClass(even, odd, class)
		awayKind := displacedKind(even, odd, hashOf(search))
		for i, tag := range tags {
			bit := slotSet(1) << (4*i + 3)
			switch has := func(s slotSet) bool { return s&bit != 0 }; {
			case has(used) != (tag != 0) || has(free) == has(used):
				t.Fatalf("slot %d of %x: used %v, free %v", i, header, has(used), has(free))
			case g.tag(uintptr(i)) != tag&^displaced || g.isDisplaced(uintptr(i)) != (tag&displaced != 0) || has(away) != (tag&displaced != 0):
				t.Fatalf("slot %d of %x has the tag %x, displaced %v; want %x", i, header, g.tag(uintptr(i)), has(away), tag)
			case tag == search && !has(found) || tag == search|displaced && !has(foundAway):
				t.Fatalf("tag %x in slot %d of %x is not found", search, i, header)
			case has(found) && tag != search && tag != search^1 || has(foundAway) && tag != search|displaced && tag != search^1|displaced:
				t.Fatalf("tag %x in slot %d of %x is taken for %x", tag, i, header, search)
			case has(awayKind) != (has(away) && tag>>kindShift%passKinds == search>>kindShift%passKinds):
				t.Fatalf("tag %x in slot %d is displaced and of the kind of %x: %v", tag, i, search, has(awayKind))
			case tag != 0 && has(inClass) != (tag&^displaced>>classShift == class):
				t.Fatalf("tag %x in slot %d is in class %d: %v", tag, i, class, has(inClass))
			}
		}
		if g.passed() != passed || count(used)+count(free) != groupSlots {
			t.Fatalf("%x says %x passed, want %x; %d used, %d free", header, g.passed(), passed, count(used), count(free))
		}
		for s, want := used, uintptr(0); s != 0; s &= s - 1 {
			for tags[want] == 0 {
				want++
			}
			if s.first() != want {
				t.Fatalf("first is %d, want %d", s.first(), want)
			}
			want++
		}
	}
}

// TestGroupPassed sets and clears the bits of entries that pass a group, by hashes of all kinds.
func TestGroupPassed(t *testing.T) {
	var header [2]uint64
	g := group{header: &header}
	g.set(13, 0x55<<tagShift, true) // the neighbour of the bits
	before := header
	for tag := range uint64(displaced) {
		hash := tag<<tagShift | rand.Uint64()&^(0x7f<<tagShift)
		g.setPassed(hash)
		for others := range uint64(displaced) {
			other := others<<tagShift | rand.Uint64()&^(0x7f<<tagShift)
			if like := tagOf(other)>>kindShift%passKinds == tagOf(hash)>>kindShift%passKinds; passes(header[1], other) != like {
				t.Fatalf("an entry with the tag %d has passed; one with the tag %d may have: %v", tagOf(hash), tagOf(other), !like)
			}
		}
		g.setPassed(hash)
		if g.clearPassed(hash); header != before {
			t.Errorf("%x after an entry has passed and left, before %x", header, before)
		}
	}
}

// TestTagOf looks at the tags of all hashes: none is 0 or 1, and none is displaced.
func TestTagOf(t *testing.T) {
	for low := range uint64(256) {
		if tag := tagOf(low<<tagShift | rand.Uint64()&(1<<tagShift-1)); tag < 2 || tag >= displaced {
			t.Errorf("the tag of %x is %d", low, tag)
		} else if want := low % displaced; want >= 2 && tag != want {
			t.Errorf("the tag of %x is %d, want %d", low, tag, want)
		}
	}
}
