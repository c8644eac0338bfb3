// Package filler fills memory that nobody may write to, and finds out where somebody did.
//
// A pattern is as long as it is so that nearly all memory is filled and compared with one call: those
// move and compare with the widest instructions that there are.
package filler

import "bytes"

// Size is how long a pattern is. What is longer has it again and again.
const Size = 4096

// Pattern is what memory is filled with, from its start.
type Pattern [Size]byte

// Fill fills b.
func (p *Pattern) Fill(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, p[:]):]
	}
}

// First returns the first byte of b that is not as Fill left it, -1 if all are.
func (p *Pattern) First(b []byte) int {
	first, _ := p.changed(b)
	return first
}

// Last returns the last byte of b that is not as Fill left it, -1 if all are.
func (p *Pattern) Last(b []byte) int {
	_, last := p.changed(b)
	return last
}

func (p *Pattern) changed(b []byte) (first, last int) {
	first, last = -1, -1
	for off := 0; off < len(b); off += Size {
		part := b[off:min(off+Size, len(b))]
		if bytes.Equal(part, p[:len(part)]) {
			continue
		}
		for i, x := range part {
			if x != p[i] {
				if last = off + i; first < 0 {
					first = last
				}
			}
		}
	}
	return first, last
}
