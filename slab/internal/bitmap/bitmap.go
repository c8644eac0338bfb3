// Package bitmap has a set of small numbers, a bit each, in which runs of members are found.
//
//	         0              63 64           127 128
//	words   │0111011100000…000│1110000000…00000│00000000…
//	          └┬┘ └┬┘          └┬┘
//	          runs of members, which Find searches for
//
// A Set has no lock. It neither grows nor checks its arguments beyond what Go checks: a number at or above the
// length that New was given is a mistake of the caller.
//
// Cost: Add, Remove, and the searches where nothing fits, take 64 numbers at a time. Other methods look at each number
// that they are given.
package bitmap

import "math/bits"

// Set is a set of numbers below its length. The zero Set has length 0. A copy shares its members.
type Set struct {
	words []uint64
	n     int
}

// New returns an empty set of numbers below n.
func New(n int) Set { return Set{make([]uint64, (n+63)/64), n} }

// Len returns the number that all members are below.
func (s Set) Len() int { return s.n }

// Has tells whether i is a member.
func (s Set) Has(i int) bool { return s.words[i/64]>>(i%64)&1 != 0 }

// Add makes n numbers members, from first on.
func (s Set) Add(first, n int) {
	for end := first + n; first < end; first = first&^63 + 64 {
		s.words[first/64] |= mask(first, end)
	}
}

// Remove takes n numbers out of the set, from first on.
func (s Set) Remove(first, n int) {
	for end := first + n; first < end; first = first&^63 + 64 {
		s.words[first/64] &^= mask(first, end)
	}
}

// mask returns the bits of the numbers from first to before end, as far as they are in first's word.
func mask(first, end int) uint64 {
	return ^uint64(0) << (first % 64) & (^uint64(0) >> max(0, first&^63+64-end))
}

// HasAll tells whether n numbers are members, from first on.
func (s Set) HasAll(first, n int) bool {
	for i := first; i < first+n; i++ {
		if !s.Has(i) {
			return false
		}
	}
	return true
}

// Count returns how many of n numbers are members, from first on.
func (s Set) Count(first, n int) (members int) {
	for i := first; i < first+n; i++ {
		members += int(s.words[i/64] >> (i % 64) & 1)
	}
	return members
}

// Find returns the first of n members in a row, all of them in [from, end); -1 if there are none. n is at least 1.
func (s Set) Find(from, end, n int) int { return FindEither(s, s, from, end, n) }

// FindEither finds n numbers in a row that are in a or in b, as Find does. a and b have the same length.
func FindEither(a, b Set, from, end, n int) int {
	for from+n <= end {
		w := (a.words[from/64] | b.words[from/64]) >> (from % 64)
		if w == 0 {
			from = (from/64 + 1) * 64
			continue
		}
		from += bits.TrailingZeros64(w)
		run := 1
		for run < n && from+run < end && (a.Has(from+run) || b.Has(from+run)) {
			run++
		}
		if run == n && from+n <= end {
			return from
		}
		from += run
	}
	return -1
}

// FindOnly returns the first number in [from, end) that is in a and not in b; -1 if there is none. a and b have
// the same length.
func FindOnly(a, b Set, from, end int) int {
	for from < end {
		if w := (a.words[from/64] &^ b.words[from/64]) >> (from % 64); w != 0 {
			if from += bits.TrailingZeros64(w); from < end {
				return from
			}
			return -1
		}
		from = (from/64 + 1) * 64
	}
	return -1
}
