package index

import "math/bits"

// Pos is a place in the order in which Walk goes through the entries, which depends on nothing but their hashes:
//
//  1. The leaf bits of the hash come first, read backwards: a leaf that is split becomes two neighbours in its place.
//  2. Then comes the tag, some values at a time.
//
// The zero Pos is the beginning.
type Pos struct {
	Leaf  uint32 // leaf bits, read backwards, of the first hash of the range
	Depth uint8  // how many of these bits belong to the range
	Tag   uint16 // the first in the range that was not visited
}

// perWalk is about how many entries a Walk visits.
const perWalk = 48

// Walk calls visit for the places of the next entries from a Pos on, some 50, and returns the Pos behind them; more is false
// after the last ones. rehash returns the hash of an entry. An entry that is there all the time is visited once, whatever
// changes between the calls. visit must not change the index.
func (x *Index) Walk(p Pos, rehash func(place uint32) uint64, visit func(place uint32)) (next Pos, more bool) {
	n := x.leafOf(uint64(bits.Reverse32(p.Leaf)) << leafShift)
	if d := x.depth(n); p.Tag == 0 && (d >= p.Depth || bits.Reverse32(n) == p.Leaf) {
		p.Depth = d
	}
	width := uint64(1) << (32 - p.Depth)
	entries := uint64(0)
	for at := uint64(p.Leaf); at < uint64(p.Leaf)+width; {
		n := x.leafOf(uint64(bits.Reverse32(uint32(at))) << leafShift)
		entries += uint64(x.leaves[n].entries)
		at += 1 << (32 - max(x.depth(n), p.Depth))
	}
	end := min(uint64(p.Tag)+1<<16*perWalk/max(entries, 1)+1, 1<<16)
	for at := uint64(p.Leaf); at < uint64(p.Leaf)+width; {
		n := x.leafOf(uint64(bits.Reverse32(uint32(at))) << leafShift)
		d := x.depth(n)
		x.visit(&x.leaves[n], uint32(p.Tag), uint32(end), func(place uint32) {
			// After a Reset a leaf may have hashes of other ranges, too.
			if d >= p.Depth || uint64(bits.Reverse32(uint32(rehash(place)>>leafShift)))-uint64(p.Leaf) < width {
				visit(place)
			}
		})
		at += 1 << (32 - max(d, p.Depth))
	}
	if end < 1<<16 {
		p.Tag = uint16(end)
		return p, true
	}
	if uint64(p.Leaf)+width >= 1<<32 {
		return Pos{}, false
	}
	return Pos{Leaf: p.Leaf + uint32(width), Depth: p.Depth}, true
}

// depth returns how many bits of the hashes choose a leaf.
func (x *Index) depth(n uint32) uint8 {
	d := uint8(bits.Len32(x.mask))
	if n > x.mask || n+x.mask+1 < uint32(len(x.leaves)) {
		d++
	}
	return d
}

// visit calls f for the places of the entries of a leaf with tags in [from, to).
func (x *Index) visit(l *leaf, from, to uint32, f func(place uint32)) {
	if l.size == 0 {
		return
	}
	n, last := l.home(uint16(from)), l.home(uint16(to-1))
	for range l.buckets() {
		b := x.bucket(l, n)
		for i, p := range b.places {
			if tag := uint32(b.tags[i]); p != 0 && tag >= from && tag < to {
				f(p)
			}
		}
		if n == last {
			if b.passed == 0 {
				return
			}
			last = (last + 1) % l.buckets()
		}
		n = (n + 1) % l.buckets()
	}
}
