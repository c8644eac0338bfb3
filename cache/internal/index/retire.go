package index

import "unsafe"

// retiring is the work of giving a part of the memory back: its blocks are moved to other memory, a few leaves at a time.
//
//	        Retire                     DrainSome, again and again
//	in use ───────▶ no block of it is ──────────────────────────▶ no leaf has a block of it: the caller has it back
//	                taken any more
type retiring struct {
	first, n uint32 // blocks; n is 0 if nothing retires
	left     int    // of them that leaves have
	hand     int    // the leaf that is looked at next
}

// holds tells whether a block retires.
func (r *retiring) holds(block uint32) bool { return block-r.first < r.n }

// HasMuchFree tells whether a part of n bytes may be given back: a fourth of the blocks in use is free besides, and another such part.
func (x *Index) HasMuchFree(n int) bool {
	return len(x.free) > 2*n/BlockSize+Spare && len(x.free)*5 > x.blocks && x.out.n == 0
}

// Retire begins to give n bytes from off behind the base on back, which Add gave. DrainSome does the work. One part retires at a time.
func (x *Index) Retire(off uintptr, n int) {
	x.out = retiring{first: uint32(off / BlockSize), n: uint32(n / BlockSize), left: n / BlockSize}
	kept := x.free[:0]
	for _, b := range x.free {
		if x.out.holds(b) {
			x.out.left--
		} else {
			kept = append(kept, b)
		}
	}
	x.free = kept
	x.checked()
}

// DrainSome moves blocks of the next few leaves out of the part that retires. It returns true when the part has no block any more: it
// is the caller's.
func (x *Index) DrainSome() (done bool) {
	if x.out.n == 0 {
		return false
	}
	for range leavesAtOnce {
		if x.out.left == 0 {
			x.blocks -= int(x.out.n)
			x.out = retiring{}
			x.checked()
			return true
		}
		l := &x.leaves[x.out.hand]
		for i, b := range l.blocks[:l.size] {
			if !x.out.holds(b) {
				continue
			}
			if len(x.free) <= Spare {
				return false // insertions need them
			}
			to := x.free[len(x.free)-1]
			x.free = x.free[:len(x.free)-1]
			*(*[BlockSize]byte)(unsafe.Add(x.base, uintptr(to)*BlockSize)) = *(*[BlockSize]byte)(unsafe.Add(x.base, uintptr(b)*BlockSize))
			l.blocks[i] = to
			x.out.left--
		}
		x.out.hand++
	}
	return false
}

// leavesAtOnce is how many leaves DrainSome looks at.
const leavesAtOnce = 4

// release makes a block free that a leaf had.
func (x *Index) release(block uint32) {
	if x.out.holds(block) {
		x.out.left--
		return
	}
	x.free = append(x.free, block)
}
