package arena

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// MakeSlice returns a slice of zeroed elements with the given length and capacity, as make does. It is valid
// as long as an object of New. It panics as New does, and if length is negative or above capacity.
func MakeSlice[T any](a *Arena, length, capacity int) []T {
	return must(TryMakeSlice[T](a, length, capacity))
}

// TryMakeSlice is MakeSlice that returns its error. An error wraps guard.ErrNoMemory unless the length is
// negative or above the capacity. It panics if T contains Go pointers.
func TryMakeSlice[T any](a *Arena, length, capacity int) ([]T, error) {
	a.usable("MakeSlice")
	mustBePointerFree((*T)(nil))
	size, err := sliceSize[T](length, capacity)
	if err != nil {
		return nil, err
	}
	p, err := a.take(size, granule)
	return sliceAt[T](p, length, capacity), err
}

// sliceAt returns the slice at p; nil if p is nil.
func sliceAt[T any](p unsafe.Pointer, length, capacity int) []T {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*T)(p), capacity)[:length]
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sliceSize returns the bytes of a slice, and an error if they do not fit into an int.
func sliceSize[T any](length, capacity int) (uintptr, error) {
	if length < 0 || length > capacity {
		return 0, fmt.Errorf("arena: a slice of length %d and capacity %d cannot be", length, capacity)
	}
	hi, lo := bits.Mul(uint(capacity), uint(unsafe.Sizeof(*new(T))))
	if hi != 0 || int(lo) < 0 {
		return 0, fmt.Errorf("arena: %d elements of %d bytes are more than addresses can hold: %w", capacity, unsafe.Sizeof(*new(T)), guard.ErrNoMemory)
	}
	return uintptr(lo), nil
}

// Alloc returns size zeroed bytes. Their address is a multiple of align, a power of two from 1 to 2 MiB, and
// of 8. It panics as New does, and if size or align is invalid.
func (a *Arena) Alloc(size, align int) []byte { return must(a.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error.
func (a *Arena) TryAlloc(size, align int) ([]byte, error) {
	a.usable("Alloc")
	if !validAlloc(size, align) {
		return nil, invalidAlloc(size, align)
	}
	p, err := a.take(uintptr(size), max(uintptr(align), granule))
	return sliceAt[byte](p, size, size), err
}

// validAlloc tells whether there can be an object of a size and alignment.
func validAlloc(size, align int) bool {
	return size >= 0 && align > 0 && align&(align-1) == 0 && align <= maxAlign
}

func invalidAlloc(size, align int) error {
	return fmt.Errorf("arena: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
}

// String returns a copy of s in the arena. The string is valid until the arena is reset, rewound or closed:
// do not keep it on the Go heap longer than that. It panics as New does if the arena is full.
func String(a *Arena, s string) string { return must(TryString(a, s)) }

// TryString is String that returns its error, which wraps guard.ErrNoMemory.
func TryString(a *Arena, s string) (string, error) {
	a.usable("String")
	if s == "" {
		return "", nil
	}
	p, err := a.takeDirty(uintptr(len(s)))
	if err != nil {
		return "", err
	}
	copy(unsafe.Slice((*byte)(p), len(s)), s)
	return unsafe.String((*byte)(p), len(s)), nil
}

// Clone returns a copy of s in the arena, with no capacity to spare; nil for nil. It panics as New does.
func Clone[T any](a *Arena, s []T) []T { return must(TryClone(a, s)) }

// TryClone is Clone that returns its error, which wraps guard.ErrNoMemory. It panics if T contains Go pointers.
func TryClone[T any](a *Arena, s []T) ([]T, error) {
	a.usable("Clone")
	mustBePointerFree((*T)(nil))
	if s == nil {
		return nil, nil
	}
	p, err := a.takeDirty(uintptr(len(s)) * unsafe.Sizeof(*new(T)))
	if err != nil {
		return nil, err
	}
	out := unsafe.Slice((*T)(p), len(s))
	copy(out, s)
	return out, nil
}

// Append appends values to s, as the built-in does, and returns the slice. s may lie anywhere.
//
// If s has no room, it grows in place if it is the arena's last allocation. Otherwise it is copied to a larger
// place, and the old one stays unused until the arena is reset. Rewind to a Mark frees the memory by which a slice
// has grown in place since. Append panics as New does.
func Append[T any](a *Arena, s []T, values ...T) []T {
	if len(values) <= cap(s)-len(s) {
		return append(s, values...)
	}
	return must(TryAppend(a, s, values...))
}

// TryAppend is Append that returns its error, and then nil instead of the slice; s is unchanged. It panics if
// T contains Go pointers.
func TryAppend[T any](a *Arena, s []T, values ...T) ([]T, error) {
	if len(values) <= cap(s)-len(s) {
		return append(s, values...), nil
	}
	a.usable("Append")
	mustBePointerFree((*T)(nil))
	grown, err := grow(a, s, len(s)+len(values))
	if err != nil {
		return nil, err
	}
	copy(grown[len(s):], values)
	return grown, nil
}

// endsAt tells whether end is the end of the arena's last allocation. It may not be, although end rounds up to
// top: x[:3:3] must not grow over the rest of the five bytes of x.
func (a *Arena) endsAt(end uintptr) bool {
	return end == a.top || end == a.tail && alignUp(end, granule) == a.top
}

// grow returns s with length n, which is above its capacity. The elements above n are zero, those that were
// added up to n are arbitrary.
func grow[T any](a *Arena, s []T, n int) ([]T, error) {
	size := unsafe.Sizeof(*new(T))
	if size == 0 {
		return unsafe.Slice((*T)(a.base), n), nil
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(s))) - uintptr(a.base) // wraps if s lies elsewhere
	if cap(s) > 0 && start >= first && start < a.top && a.endsAt(start+uintptr(cap(s))*size) {
		if uintptr(n) > a.ceiling/size {
			return nil, a.full(uintptr(n-cap(s)) * size)
		}
		end := alignUp(start+uintptr(n)*size, granule)
		if _, err := a.takeDirty(end - a.top); err != nil {
			return nil, err
		}
		out := unsafe.Slice(unsafe.SliceData(s), (end-start)/size)
		a.tail = start + uintptr(cap(out))*size
		clear(out[n:])
		return out[:n], nil
	}
	capacity := grownCapacity[T](n, cap(s), a.ceiling-a.top)
	bytes, err := sliceSize[T](n, capacity)
	if err != nil {
		return nil, err
	}
	p, err := a.takeDirty(bytes)
	if err != nil && capacity > n { // there may be room for n elements
		capacity = n
		p, err = a.takeDirty(uintptr(n) * size)
	}
	if err != nil {
		return nil, err
	}
	out := unsafe.Slice((*T)(p), capacity)
	copy(out, s)
	clear(out[n:])
	return out[:n], nil
}

// grownCapacity returns the capacity for a slice that grows to length n, which is above its capacity was. The
// capacity grows as that of the built-in append does, but takes at most room bytes.
func grownCapacity[T any](n, was int, room uintptr) int {
	capacity := 2 * was
	if was > 256 {
		capacity = was + was/4 + 192
	}
	if size := unsafe.Sizeof(*new(T)); size > 0 {
		capacity = min(capacity, int(room/size))
	}
	return max(n, capacity)
}
