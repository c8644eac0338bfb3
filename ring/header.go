package ring

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// header is the first OS page of the memory. Its first line is written by Create and never again.
type header struct {
	magic atomic.Uint64
	size  atomic.Uint64 // of the data, in bytes: a power of two
	full  atomic.Uint32 // a Full
	_     [lineSize - 20]byte

	producer, consumer half

	lag lag
}

// lag is what a producer shows that does not wait for slow readers: see broadcast.go.
type lag struct {
	dirty  atomic.Uint64 // where it may be writing: what lies a ring or more before is overwritten
	before atomic.Uint64 // messages shown since the reader was added, stored before the producer's index
	after  atomic.Uint64 // the same, stored after it
	_      [lineSize - 24]byte
}

// half is what one side shows the other. Each word that is written often has a line of its own, so that neither side takes
// a line from the other for a word that the other does not look at.
type half struct {
	index     atomic.Uint64 // where it is in the stream of all messages, in bytes; only it stores here
	processor atomic.Uint32 // where it runs, plus 1; 0 if that is not known
	_         [lineSize - 12]byte
	asleep    atomic.Uint32 // 1: it sleeps, or is about to. Both store here
	_         [lineSize - 4]byte
	life      atomic.Uint32 // see life.go
	_         [lineSize - 4]byte
}

const (
	lineSize = 128                // two cache lines, because processors fetch them in pairs
	magic    = 0x3031676e69726868 // "hhring10": the layout and its version

	// frame is the bytes before each message: its length. Frames begin at multiples of 8.
	frame = 8

	defaultSize = 1 << 20
	maxSize     = 1 << (bits.UintSize/2 + 8) // 1 TiB, or 16 MiB where addresses have 32 bits
)

// frameSize returns how many bytes of the ring a message of n bytes takes.
func frameSize(n uint64) uint64 { return (n + frame + 7) &^ 7 }

// headerSize returns where the data begins in the memory.
func headerSize() int { return guard.PageSize() }

// ringSize returns the bytes of data for a size that a Config names.
func ringSize(size int) (int, error) {
	if size == 0 {
		size = defaultSize
	}
	if size < 0 || size > maxSize {
		return 0, fmt.Errorf("the size of %d bytes must be between 1 and %d", size, maxSize)
	}
	return max(1<<bits.Len(uint(size-1)), guard.PageSize()), nil
}

// begin writes the header of a new ring into zeroed memory.
func (h *header) begin(size int, full Full, start uint64) {
	h.size.Store(uint64(size))
	h.full.Store(uint32(full))
	h.producer.index.Store(start)
	h.consumer.index.Store(start)
	h.magic.Store(magic)
}

// read returns what the header says, if it can be the header of a ring of this size, whose policy is none behind most.
func (h *header) read(size int, most Full) (full Full, err error) {
	if m := h.magic.Load(); m != magic {
		return 0, fmt.Errorf("the memory has no ring of this version (%#x): %w", m, ErrCorrupt)
	}
	if s := h.size.Load(); s != uint64(size) {
		return 0, fmt.Errorf("the header says %d bytes, and there are %d: %w", s, size, ErrCorrupt)
	}
	f := Full(h.full.Load())
	if f > most {
		return 0, fmt.Errorf("the header says %v, not Block, Fail or DropOldest: %w", f, ErrCorrupt)
	}
	return f, nil
}

// headerOf views the first OS page of the memory as the header.
func headerOf(memory []byte) *header { return (*header)(unsafe.Pointer(unsafe.SliceData(memory))) }
