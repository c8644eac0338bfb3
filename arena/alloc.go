package arena

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// MakeSlice returns a slice of zeroed elements with the given length and capacity, as make does. It
// panics as New does; a negative length, or one above capacity, panics too.
func MakeSlice[T any](a *Arena, length, capacity int) []T {
	return must(TryMakeSlice[T](a, length, capacity))
}

// TryMakeSlice is MakeSlice that returns its error: out of memory, or a size that
// no memory could hold. It panics if T contains pointers.
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

// sliceAt returns the slice at p, nil for nil.
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

// sliceSize is the bytes of a slice, refused where they do not fit into an int.
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

// Alloc returns size zeroed bytes, aligned to align: a power of two up to 2 MiB.
// It panics as New does, and for sizes and alignments that cannot be.
func (a *Arena) Alloc(size, align int) []byte { return must(a.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error.
func (a *Arena) TryAlloc(size, align int) ([]byte, error) {
	a.usable("Alloc")
	if err := checkAlloc(size, align); err != nil {
		return nil, err
	}
	p, err := a.take(uintptr(size), max(uintptr(align), granule))
	return sliceAt[byte](p, size, size), err
}

// checkAlloc refuses sizes and alignments that cannot be.
func checkAlloc(size, align int) error {
	if size < 0 || align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return cannotBe(size, align)
	}
	return nil
}

func cannotBe(size, align int) error {
	return fmt.Errorf("arena: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
}

// String returns a copy of s that lives in the arena. The string is valid until the arena is
// reset, rewound or closed; keep it on the Go heap no longer than that. It panics as New does.
func String(a *Arena, s string) string { return must(TryString(a, s)) }

// TryString is String that returns its error.
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

// Clone returns a copy of s that lives in the arena, with no capacity to spare; nil for nil. It
// panics as New does.
func Clone[T any](a *Arena, s []T) []T { return must(TryClone(a, s)) }

// TryClone is Clone that returns its error. It panics if T contains pointers.
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

// Append appends to a slice as the built-in does. A slice with no room that is the
// arena's last allocation grows in place; another is copied to a larger place, and the old one
// stays unused until the arena is reset. The slice may come from anywhere. What a slice grew by
// in place after a Mark is freed by Rewind to it. It panics as New does.
func Append[T any](a *Arena, s []T, values ...T) []T {
	if len(values) <= cap(s)-len(s) {
		return append(s, values...)
	}
	return must(TryAppend(a, s, values...))
}

// TryAppend is Append that returns its error, and nil; s is then as it was. It panics if T contains
// pointers.
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

// endsAt tells whether nothing that is in use lies beyond end. It may lie there although end rounds
// up to top: x[:3:3] must not grow over the rest of the five bytes of x.
func (a *Arena) endsAt(end uintptr) bool {
	return end == a.top || end == a.tail && alignUp(end, granule) == a.top
}

// grow returns s with length n, which is above its capacity. What stands above
// n in the result's capacity is zero; what stands between is anything.
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
	if err != nil && capacity > n { // the budget may have room for n yet
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

// grownCapacity returns the capacity of a slice that grows to length n, which is above its capacity
// was: as the built-in append grows it, but no more than the bytes of room allow.
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
