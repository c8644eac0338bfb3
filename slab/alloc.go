package slab

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// Alloc returns size zeroed bytes, aligned to align: a power of two up to 1 MiB. Every object is aligned
// to 16 at least, whatever smaller align is given. The object lives until Free. Any goroutine may call
// it.
//
// The capacity is the size of the slot, and reads zero too, so append may use it; in a hardened heap the
// capacity is size. A size of 0 gives an object of its own, which must be freed, too. With an alignment above 16
// the slot is of the smallest class that is a multiple of align: 10 bytes aligned to 64 take 64.
//
// Alloc panics with an error that wraps guard.ErrNoMemory where there is no memory, with an error for a
// negative size or an impossible alignment, and with a *guard.Violation after Close.
//
// Cost: as AllocDirty, and clearing the slot unless it was never used.
func (h *Heap) Alloc(size, align int) []byte {
	if isNatural(align) {
		if p, capacity, was := h.allocFast(size); p != nil {
			return cleared(p, size, capacity, was)
		}
	}
	return must(zeroed(h.get(size, align)))
}

// TryAlloc is Alloc that returns its error. After Close it panics with a *guard.Violation, as all Try forms do.
func (h *Heap) TryAlloc(size, align int) ([]byte, error) {
	if isNatural(align) {
		if p, capacity, was := h.allocFast(size); p != nil {
			return cleared(p, size, capacity, was), nil
		}
	}
	return zeroed(h.get(size, align))
}

// AllocDirty is Alloc without clearing: the bytes, up to the capacity, may hold anything.
//
// Cost: one short call without a lock, for a size of up to 8 KiB and an alignment of up to 16. The package comment
// has the others.
func (h *Heap) AllocDirty(size, align int) []byte {
	return allocDirty(h, size, align, (*Heap).allocFast, (*Heap).allocDirty)
}

// allocDirty is AllocDirty with its calls as parameters. The parameters are for the inliner: a call through one costs
// 17 of the budget of 80, where a plain call costs 57. (A generic function for Heap and Local would cost 2 more than
// there are.) When it is inlined, they are constants again.
func allocDirty(h *Heap, size, align int, fast func(*Heap, int) (unsafe.Pointer, uint32, slots.State), slow func(*Heap, int, int) []byte) []byte {
	if isNatural(align) {
		if p, capacity, _ := fast(h, size); p != nil {
			return (*[slotSpace]byte)(p)[:size:capacity]
		}
	}
	return slow(h, size, align)
}

// slotSpace is above the size of every slot, so that the compiler compares size with the capacity alone.
const slotSpace = 1 << (32 - 2*shrink32)

func (h *Heap) allocDirty(size, align int) []byte {
	b, _, err := h.get(size, align)
	return must(b, err)
}

// TryAllocDirty is AllocDirty that returns its error.
func (h *Heap) TryAllocDirty(size, align int) ([]byte, error) {
	if isNatural(align) {
		if p, capacity, _ := h.allocFast(size); p != nil {
			return (*[slotSpace]byte)(p)[:size:capacity], nil
		}
	}
	b, _, err := h.get(size, align)
	return b, err
}

// get is client.get for a goroutine without a Local.
func (h *Heap) get(size, align int) (b []byte, clean bool, err error) {
	if h != nil && h.hard != nil && isNatural(align) {
		if c, it := h.popHardened(size); it != 0 {
			return h.adopt(c, it, size)
		}
	}
	h.usable("Alloc")
	return h.client().get(size, align)
}

// isNatural tells whether every slot has the alignment, which is a power of two up to the granule. It is a bit in
// a word because that is cheaper for the inliner than a comparison.
func isNatural(align int) bool { return natural>>uint(align)&1 != 0 }

const natural = 1<<1 | 1<<2 | 1<<4 | 1<<8 | 1<<sizeclass.Granule

// checkAlloc returns an error for a negative size or an impossible alignment.
func checkAlloc(size, align int) error {
	if size < 0 || align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return fmt.Errorf("slab: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
	}
	return nil
}

// cleared clears the slot that a fast path took, unless it reads zero already, and returns the object.
func cleared(p unsafe.Pointer, size int, capacity uint32, was slots.State) []byte {
	if !was.IsClean() {
		clearSlot(p, capacity)
	}
	return (*[slotSpace]byte)(p)[:size:capacity]
}

// clearSlot clears a slot: a small one with stores that overlap, so that the only branch is one by its size, where
// clear takes 4 ns for the call.
func clearSlot(p unsafe.Pointer, size uint32) {
	end := unsafe.Add(p, size)
	switch {
	case size <= 32:
		*(*[16]byte)(p) = [16]byte{}
		*(*[16]byte)(unsafe.Add(end, -16)) = [16]byte{}
	case size <= 64:
		*(*[32]byte)(p) = [32]byte{}
		*(*[32]byte)(unsafe.Add(end, -32)) = [32]byte{}
	case size <= 128:
		*(*[64]byte)(p) = [64]byte{}
		*(*[64]byte)(unsafe.Add(end, -64)) = [64]byte{}
	case size <= 256:
		*(*[128]byte)(p) = [128]byte{}
		*(*[128]byte)(unsafe.Add(end, -128)) = [128]byte{}
	default:
		clear((*[slotSpace]byte)(p)[:size])
	}
}

// zeroed clears the object that get returned, with its capacity, unless it reads zero already.
func zeroed(b []byte, clean bool, err error) ([]byte, error) {
	if !clean {
		clear(b[:cap(b)])
	}
	return b, err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Free takes an object back: b as Alloc returned it, or any slice of it that starts at the same byte,
// whatever its length and capacity. Any goroutine may free any object of the heap. Freeing nil does
// nothing. Free panics with a *guard.Violation, and changes nothing, if b is not a live object of the heap.
//
// The memory is kept for later objects for a while. A touch of it may go unnoticed until then, unless the heap is
// hardened.
//
// If len(b) is cap(b), b[len(b):] starts at the same byte as b in Go, so Free takes it for b.
//
// Cost: one short call without a lock, for an object of up to 16 KiB, whatever its alignment.
func (h *Heap) Free(b []byte) {
	free(h, addr(b), (*Heap).freeFast, (*Heap).free)
}

// free is Free of a Heap or Local, with its calls as parameters: see allocDirty.
func free[H any](h *H, p unsafe.Pointer, fast func(*H, unsafe.Pointer) bool, slow func(*H, unsafe.Pointer)) {
	if !fast(h, p) {
		slow(h, p)
	}
}

// free is Free where the fast path has not freed the object at p.
func (h *Heap) free(p unsafe.Pointer) {
	if h != nil && h.hard != nil && h.freeHardened(p) {
		return
	}
	if h.made("Free"); p != nil {
		h.client().put("Free", p)
	}
}

// addr returns where b starts.
func addr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
