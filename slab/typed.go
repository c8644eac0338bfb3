package slab

import (
	"fmt"
	"math/bits"
	"reflect"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// New returns a zeroed T that lives until Free. It panics as Heap.Alloc does, and with an error that names
// the field if T contains pointers. Any goroutine may call it.
//
// Cost: as AllocDirty, and clearing the T.
func New[T any](h *Heap) *T {
	// A constant: a type with pointers never comes to the fast path. Nor does any type where Words cannot be
	// trusted: see openHeap.
	if pointerfree.Words((*T)(nil)) == 0 {
		if p, _, _ := h.allocFast(int(unsafe.Sizeof(*new(T)))); p != nil {
			x := (*T)(p)
			*x = *new(T)
			return x
		}
	}
	return must(TryNew[T](h))
}

// TryNew is New that returns its error. It panics if T contains pointers.
func TryNew[T any](h *Heap) (*T, error) {
	mustBePointerFree((*T)(nil))
	b, err := h.TryAlloc(int(unsafe.Sizeof(*new(T))), sizeclass.Granule)
	return (*T)(addr(b)), err
}

// Free frees an object that New made, as Heap.Free does. Freeing nil does nothing. In a hardened heap it
// panics with a *guard.Violation if the size of T is not the size that was asked for.
func Free[T any](h *Heap, p *T) {
	freeObject(h, unsafe.Pointer(p), unsafe.Sizeof(*p), (*Heap).freeFast, (*Heap).freeObject)
}

// freeObject is Free with its calls as parameters: see allocDirty.
func freeObject(h *Heap, p unsafe.Pointer, size uintptr, fast func(*Heap, unsafe.Pointer) bool, slow func(*Heap, unsafe.Pointer, uintptr)) {
	if !fast(h, p) {
		slow(h, p, size)
	}
}

// freeObject is Free where the fast path has not freed the object at p, of a type of a size.
func (h *Heap) freeObject(p unsafe.Pointer, size uintptr) {
	if h != nil && h.hard != nil {
		h.checkSize(p, int(size), 1, false)
	}
	h.free(p)
}

// MakeSlice returns a slice of zeroed elements with the given length and capacity, as make does. It
// panics as New does; a negative length, or one above capacity, panics too.
func MakeSlice[T any](h *Heap, length, capacity int) []T {
	return must(TryMakeSlice[T](h, length, capacity))
}

// TryMakeSlice is MakeSlice that returns its error: out of memory, or a size that no memory could
// hold. It panics if T contains pointers.
func TryMakeSlice[T any](h *Heap, length, capacity int) ([]T, error) {
	mustBePointerFree((*T)(nil))
	if length < 0 || length > capacity {
		h.usable("Alloc")
		return nil, fmt.Errorf("slab: a slice of length %d and capacity %d cannot be", length, capacity)
	}
	hi, lo := bits.Mul(uint(capacity), uint(unsafe.Sizeof(*new(T))))
	if hi != 0 || int(lo) < 0 {
		h.usable("Alloc")
		return nil, fmt.Errorf("slab: %d elements of %d bytes are more than addresses can hold: %w", capacity, unsafe.Sizeof(*new(T)), guard.ErrNoMemory)
	}
	b, err := h.TryAlloc(int(lo), sizeclass.Granule)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(addr(b)), capacity)[:length], nil
}

// FreeSlice frees a slice that MakeSlice made, given that slice or one that starts at the same element. In
// a hardened heap it panics with a *guard.Violation if the size that was asked for is not a multiple of
// the size of T, or is less than the capacity of s.
func FreeSlice[T any](h *Heap, s []T) {
	p := unsafe.Pointer(unsafe.SliceData(s))
	if h != nil && h.hard != nil {
		h.checkSize(p, int(unsafe.Sizeof(*new(T))), cap(s), true)
	}
	free(h, p, (*Heap).freeFast, (*Heap).free)
}

// checkSize panics if the object at p was not asked for as n elements of a size; with more, a larger number
// of elements is fine, too. It does nothing if p is nil.
func (h *Heap) checkSize(p unsafe.Pointer, size, n int, more bool) {
	if p == nil {
		return
	}
	asked, least := h.size("Free", p), n*size
	if asked == least || more && asked > least && size > 0 && asked%size == 0 {
		return
	}
	panic(h.violation("Free", guard.WrongSize, otherSize, p))
}

// pointerFree returns an error if T contains pointers, where p is a nil *T. The error names the field.
func pointerFree(p any) error { return pointerfree.Check(reflect.TypeOf(p).Elem()) }

// mustBePointerFree panics if T contains pointers, where p is a nil *T.
func mustBePointerFree(p any) {
	if pointerfree.Trusted && pointerfree.Words(p) == 0 {
		return
	}
	if err := pointerFree(p); err != nil {
		panic(fmt.Errorf("slab: %w", err))
	}
}
