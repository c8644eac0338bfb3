package index

import (
	"encoding/binary"
	"math/bits"
)

// Postings are the occurrences of one word, in order. For each document there are
//
//	varint(distance from the document before × 2 + 1)
//	varint(distance from the position before × 2), once for each occurrence
//
// The lowest bit of a varint is the lowest bit of its first byte. So a reader finds the next document
// without decoding the positions before it.
type Postings struct {
	Documents uint32 // number of documents that hold the word
	Bytes     []byte
}

// tail is the state of the writer at the end of a word's postings. It holds no pointers, so either side
// may keep it in its own memory.
type tail struct {
	documents uint32 // number of documents that hold the word
	document  uint32 // the last of them
	position  uint32 // the last occurrence in it
}

// occurrence has room for the bytes of one occurrence.
type occurrence [2 * binary.MaxVarintLen32]byte

// write encodes the next occurrence in to, and returns the bytes to append.
func (t *tail) write(to *occurrence, document, position uint32) []byte {
	n := 0
	if t.documents == 0 || t.document != document {
		n = binary.PutUvarint(to[:], uint64(document-t.document)<<1|1)
		t.documents++
		t.document, t.position = document, 0
	}
	n += binary.PutUvarint(to[n:], uint64(position-t.position)<<1)
	t.position = position
	return to[:n]
}

// cursor reads postings document by document.
type cursor struct {
	rest      []byte // from the next document on
	document  uint32
	positions []byte // of the document, encoded
	count     uint32 // number of positions
}

// next moves to the next document; false at the end.
func (c *cursor) next() bool {
	if len(c.rest) == 0 {
		return false
	}
	distance, n := binary.Uvarint(c.rest)
	c.document += uint32(distance >> 1)
	c.positions = c.rest[n:]
	n, c.count = skip(c.positions)
	c.positions, c.rest = c.positions[:n], c.positions[n:]
	return true
}

// skip returns the number of bytes up to the next document, and the number of positions in them.
//
// It takes eight bytes at a time, with a flag in the highest bit of each. A byte starts a varint if the
// byte before does not continue one, and starts a document if its lowest bit is set, too.
func skip(b []byte) (n int, positions uint32) {
	const flags = 0x8080_8080_8080_8080
	inside := uint64(0) // flag of the first byte: it continues a varint
	for ; n+8 <= len(b); n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		starts := ^(x<<8 | inside) & flags
		if documents := starts & (x << 7); documents != 0 {
			before := documents&-documents - 1
			return n + bits.TrailingZeros64(documents)/8, positions + uint32(bits.OnesCount64(starts&before))
		}
		positions += uint32(bits.OnesCount64(starts))
		inside = x >> 63 << 7
	}
	for ; n < len(b); n++ {
		if inside == 0 {
			if b[n]&1 != 0 {
				break
			}
			positions++
		}
		inside = uint64(b[n] & 0x80)
	}
	return n, positions
}

// seek moves to the first document from the given number on; false if there is none.
func (c *cursor) seek(document uint32) bool {
	for c.document < document {
		if !c.next() {
			return false
		}
	}
	return true
}

// appendPositions decodes the positions of the document, and appends them.
func (c *cursor) appendPositions(to []int32) []int32 {
	position := int32(0)
	for b := c.positions; len(b) > 0; {
		distance, n := binary.Uvarint(b)
		position += int32(distance >> 1)
		to = append(to, position)
		b = b[n:]
	}
	return to
}
