package slab

import "math/bits"

// bitmap is a set of numbers below n.
type bitmap struct {
	words []uint64
	n     int
}

func newBitmap(n int) bitmap { return bitmap{make([]uint64, (n+63)/64), n} }

func (b bitmap) has(i int) bool { return b.words[i/64]>>(i%64)&1 != 0 }

func (b bitmap) set(first, n int) {
	for i := first; i < first+n; i++ {
		b.words[i/64] |= 1 << (i % 64)
	}
}

func (b bitmap) clear(first, n int) {
	for i := first; i < first+n; i++ {
		b.words[i/64] &^= 1 << (i % 64)
	}
}

func (b bitmap) all(first, n int) bool {
	for i := first; i < first+n; i++ {
		if !b.has(i) {
			return false
		}
	}
	return true
}

// count returns how many of n numbers in a row are members.
func (b bitmap) count(first, n int) (members int) {
	for i := first; i < first+n; i++ {
		members += int(b.words[i/64] >> (i % 64) & 1)
	}
	return members
}

// find returns the first of n members in a row, in [from, end); -1 if there are none.
func (b bitmap) find(from, end, n int) int { return findEither(b, b, from, end, n) }

// findEither is find in the union of two sets of one size.
func findEither(a, b bitmap, from, end, n int) int {
	for from+n <= end {
		w := (a.words[from/64] | b.words[from/64]) >> (from % 64)
		if w == 0 {
			from = (from/64 + 1) * 64
			continue
		}
		from += bits.TrailingZeros64(w)
		run := 1
		for run < n && from+run < end && (a.has(from+run) || b.has(from+run)) {
			run++
		}
		if run == n && from+n <= end {
			return from
		}
		from += run
	}
	return -1
}
