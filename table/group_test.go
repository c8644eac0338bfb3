package table

import (
	"math/rand/v2"
	"testing"
)

// TestGroup compares the operations on headers with a slice of tags.
func TestGroup(t *testing.T) {
	hashOf := func(tag uint64) uint64 { return tag<<tagShift | rand.Uint64()&^(0x7f<<tagShift) }
	for range 20_000 {
		var header [2]uint64
		g := group{header: &header}
		header[1] = uint64(rand.IntN(256)) << 56 // the counters are no tag
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
			case tag != 0 && has(inClass) != (tag&^displaced>>classShift == class):
				t.Fatalf("tag %x in slot %d is in class %d: %v", tag, i, class, has(inClass))
			}
		}
		if g.passed() != passed || used.count()+free.count() != groupSlots {
			t.Fatalf("%x counts %x passed, want %x; %d used, %d free", header, g.passed(), passed, used.count(), free.count())
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

// TestGroupCounters counts entries that pass a group up to where a counter stays, by both bits of their hashes.
func TestGroupCounters(t *testing.T) {
	var header [2]uint64
	g := group{header: &header}
	g.set(13, 0x55<<tagShift, true) // the neighbour of the counters
	before := header
	// Hashes of both counters.
	hashes := [2]uint64{}
	for i := uint64(0); hashes[0] == 0 || hashes[1] == 0; i++ {
		h := i<<tagShift | 1
		hashes[passShift(h)/4%2] = h
	}
	for c, hash := range hashes {
		other := hashes[1-c]
		for n := range passedMost {
			if passes(header[1], hash) != (n > 0) || passes(header[1], other) {
				t.Fatalf("after %d entries passes is %v, for others %v", n, passes(header[1], hash), passes(header[1], other))
			}
			g.addPassed(hash)
		}
		// At its limit it stays.
		for range 3 {
			g.addPassed(hash)
		}
		if g.dropPassed(hash); g.passed()>>(passShift(hash)-56)&passedMost != passedMost {
			t.Errorf("a counter that may be too small was lowered: %x", g.passed())
		}
		header = before
		for range passedMost - 1 {
			g.addPassed(hash)
		}
		for range passedMost - 1 {
			g.dropPassed(hash)
		}
		if header != before {
			t.Errorf("%x after as many entries left as came, before %x", header, before)
		}
	}
}

// TestTagOf looks at the tags of all hashes: none is 0 or 1, and none is displaced.
func TestTagOf(t *testing.T) {
	for bits := range uint64(256) {
		if tag := tagOf(bits<<tagShift | rand.Uint64()&(1<<tagShift-1)); tag < 2 || tag >= displaced {
			t.Errorf("the tag of %x is %d", bits, tag)
		} else if want := bits % displaced; want >= 2 && tag != want {
			t.Errorf("the tag of %x is %d, want %d", bits, tag, want)
		}
	}
}
