package cache

import (
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cache/internal/index"
)

// segment is the books of a stretch of the log. The stretch is an object of the heap; all of them have one size.
//
//	┌───────┬──────┬───────┬──────┬───────┬────────────┐
//	│ entry │ dead │ entry │ dead │ entry │ not used   │
//	└───────┴──────┴───────┴──────┴───────┴────────────┘
//	                                      ▲ used
//
// Its life:
//
//	        provide           open             the last entry dies
//	heap ────────────▶ spare ──────▶ in a queue ───────────────────▶ spare, or free: back to the heap
//	                                    │                               ▲
//	                                    └──────▶ doomed ────────────────┘
//	                                  pinned            the last unpin
//
// The shard's lock guards it.
type segment struct {
	next, prev uint32 // numbers, plus 1, of the neighbours in a list; next is younger
	used, dead uint32 // granules
	pins       uint32
	queue      uint8
	doomed     bool // out of its queue, pinned
}

const (
	segmentsPerChunk = 1024
	leastSegment     = 16 << 10 // bytes
	mostSegment      = 64 << 10
)

// segments finds the books of a segment by its number: its offset from the heap's base, divided by the size. Books are made
// as far as memory is used, and take half a thousandth of it, on the Go heap, without pointers.
type segments struct {
	shift  uint // of a place to the number
	chunks []atomic.Pointer[[segmentsPerChunk]segment]
}

// open prepares the books for a heap that reserves some bytes.
func (t *segments) open(reserve, size int) {
	for t.shift = 0; granule<<t.shift < size; t.shift++ {
	}
	t.chunks = make([]atomic.Pointer[[segmentsPerChunk]segment], reserve/size/segmentsPerChunk+1)
}

// at returns the books of a segment that was made.
func (t *segments) at(number uint32) *segment {
	return &t.chunks[number/segmentsPerChunk].Load()[number%segmentsPerChunk]
}

// of returns the books of the segment that a place lies in.
func (t *segments) of(p place) *segment { return t.at(p >> t.shift) }

// first returns the granules at the start of a segment that no entry uses: place 0 is none.
func first(number uint32) uint32 {
	if number == 0 {
		return 1
	}
	return 0
}

// add makes the books of a new segment.
func (t *segments) add(number uint32) {
	c := &t.chunks[number/segmentsPerChunk]
	if c.Load() == nil {
		c.CompareAndSwap(nil, new([segmentsPerChunk]segment))
	}
	*t.at(number) = segment{used: first(number), dead: first(number)}
}

// list is a list of segments, from the oldest, the tail, to the youngest.
type list struct {
	head, tail uint32 // numbers, plus 1; 0 for none
	n          int
}

// push makes a segment the youngest.
func (l *list) push(t *segments, number uint32) {
	s := t.at(number)
	s.prev, s.next = l.head, 0
	if l.head != 0 {
		t.at(l.head - 1).next = number + 1
	} else {
		l.tail = number + 1
	}
	l.head = number + 1
	l.n++
}

// remove takes a segment out.
func (l *list) remove(t *segments, number uint32) {
	s := t.at(number)
	if s.prev != 0 {
		t.at(s.prev - 1).next = s.next
	} else {
		l.tail = s.next
	}
	if s.next != 0 {
		t.at(s.next - 1).prev = s.prev
	} else {
		l.head = s.prev
	}
	s.next, s.prev = 0, 0
	l.n--
}

// pop takes the oldest segment out.
func (l *list) pop(t *segments) (number uint32, ok bool) {
	if l.tail == 0 {
		return 0, false
	}
	number = l.tail - 1
	l.remove(t, number)
	return number, true
}

// chunkSize is the bytes of memory that the index or the ghosts of a shard are given at a time.
const chunkSize = 16 << 10

var _ = [1]struct{}{}[chunkSize%index.BlockSize]

// at returns the entry at a place.
func (c *Cache) at(p place) entry { return entry{unsafe.Add(c.base, uintptr(p)*granule)} }
