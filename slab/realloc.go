package slab

import (
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Size returns the number of bytes that the object b has room for: the size of its slot or, if it is large, of its OS
// pages and of up to an eighth more. In a hardened heap, and for a sampled object, it returns the size that was asked
// for. Size panics with a *guard.Violation if b is not a live object of the heap.
func (h *Heap) Size(b []byte) int {
	h.markRead(addr(b))
	return h.size("Size", addr(b))
}

func (h *Heap) size(op string, p unsafe.Pointer) int {
	h.made(op)
	exact := h.hard != nil // the size that was asked for is known, and others are not to be used
	c, it, ok := h.slots.Object(p)
	n := int(sizeclass.Table[c].Size)
	if ok && exact {
		n = int(*h.slots.Size(it.State())) - 1
	}
	if !ok {
		var o largeObject
		if o, ok = h.largeAt(p); ok {
			if n = o.size; !exact {
				n = int(o.region.Committed())
			}
		}
	}
	h.usable(op) // checked last: the heap may have been closed while it was read
	if ok {
		return n
	}
	if n, ok := sampled.Size(h.id(), p); ok {
		return n
	}
	panic(h.noObject(op, p))
}

// Realloc resizes the object b: it returns an object of size bytes that begins with the bytes of b, up to the
// shorter length, and reads zero behind them, up to its capacity. It may be in another place; then b is freed.
// Realloc of nil allocates. Realloc to 0 bytes does not free: it returns an object of no bytes, which must be
// freed.
//
// The result is aligned to 16. A larger alignment that b was allocated with is lost when the object moves: see
// ReallocAligned.
//
// Realloc panics as Alloc and Free do, and with a *guard.Violation if b is longer than its Size. If there
// is no memory, b is as it was.
//
// The capacity is the Size, as for Alloc, if the object became longer or moved. If it stayed in its place and did
// not become longer, the capacity is size: old bytes may lie behind its end. So append copies such an object to the
// Go heap when it must grow, while Realloc uses the room behind it, and clears it. In a hardened heap, and for a
// sampled object, the capacity is always size.
//
// An object of more than 1 MiB that stays above 1 MiB grows in its place if it has grown before, or the
// kernel moves its OS pages to another place, without a copy. In a hardened heap every object moves, and
// is copied.
func (h *Heap) Realloc(b []byte, size int) []byte { return must(h.TryRealloc(b, size)) }

// TryRealloc is Realloc that returns its error.
func (h *Heap) TryRealloc(b []byte, size int) ([]byte, error) {
	return h.TryReallocAligned(b, size, sizeclass.Granule)
}

// ReallocAligned is Realloc that aligns the result to align: a power of two up to 1 MiB, as for Alloc. An object that
// is aligned so already stays in its place where Realloc would leave it; one that is not is copied to another place.
// So an object keeps its alignment if each call names it.
func (h *Heap) ReallocAligned(b []byte, size, align int) []byte {
	return must(h.TryReallocAligned(b, size, align))
}

// TryReallocAligned is ReallocAligned that returns its error.
func (h *Heap) TryReallocAligned(b []byte, size, align int) ([]byte, error) {
	if b == nil {
		return h.TryAlloc(size, align)
	}
	p := addr(b)
	h.markWrite(p)
	room := h.size("Realloc", p)
	if len(b) > room {
		panic(h.violation("Realloc", guard.WrongSize, otherSize, p))
	}
	if err := checkAlloc(size, align); err != nil {
		return nil, err
	}
	switch {
	case h.hard != nil || sampled.Holds(p) || uintptr(p)%uintptr(align) != 0: // always elsewhere
	case stays(room, size):
		if size > len(b) {
			clear(unsafe.Slice((*byte)(p), room)[len(b):])
		}
		h.noteAsked(p, size)
		return upToZeroes(unsafe.Slice((*byte)(p), room)[:size], len(b)), nil
	case room > sizeclass.Largest && size > sizeclass.Largest && size < math.MaxInt/4:
		out, err := h.resizeLarge(b, size, align)
		return upToZeroes(out, len(b)), err
	}
	out, clean, err := h.get(size, align)
	if err != nil {
		return nil, err
	}
	n := copy(out, b)
	if !clean {
		clear(out[n:cap(out)])
	}
	freed := false
	defer func() {
		if !freed { // b is no object any more, or was overrun
			h.Free(out)
		}
	}()
	h.Free(b)
	freed = true
	return out, nil
}

// noteAsked notes the new size of a large object that stays where it is; others are not counted.
func (h *Heap) noteAsked(p unsafe.Pointer, size int) {
	if !h.slots.IsObject(p) {
		h.large.ask(p, size)
	}
}

// upToZeroes cuts the capacity of an object that was resized in its place, unless it became longer than
// was: otherwise old bytes may lie behind its end.
func upToZeroes(b []byte, was int) []byte {
	if len(b) > was {
		return b
	}
	return b[:len(b):len(b)]
}

// stays tells whether an object with room bytes is kept for a new size: the size fits, and does not leave
// more than half of the room unused.
func stays(room, size int) bool {
	if size < 0 || size > room {
		return false
	}
	return size > room/2 || room <= 4*sizeclass.Granule
}
