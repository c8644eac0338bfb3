// Package filler fills memory that must not be written to with a pattern, and finds writes to it: canaries beside
// objects, poison in freed ones.
//
// A pattern has 4096 bytes, so that one call of copy or bytes.Equal, which use the widest instructions of the
// processor, serves nearly all memory.
package filler

import "bytes"

// Size is the length of a pattern in bytes. Longer memory has it repeatedly.
const Size = 4096

// Pattern is the bytes that memory is filled with, from its start.
type Pattern [Size]byte

// Fill fills b with the pattern.
func (p *Pattern) Fill(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, p[:]):]
	}
}

// First returns the index of the first byte of b that differs from what Fill wrote; -1 if none does.
func (p *Pattern) First(b []byte) int {
	first, _ := p.changed(b)
	return first
}

// Last returns the index of the last byte of b that differs from what Fill wrote; -1 if none does.
func (p *Pattern) Last(b []byte) int {
	_, last := p.changed(b)
	return last
}

// changed returns the indexes of the first and the last byte of b that were changed; -1 if none was.
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
