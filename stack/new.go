package stack

import (
	"fmt"
	"math/bits"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
)

// granule is the alignment and the unit of size of every object: what any Go type needs.
const granule = 8

// maxAlign is the most that Alloc aligns to: an OS page, everywhere.
const maxAlign = 4096

// New returns a zeroed T that lives until the frame it is in is popped, or the stack is put. It
// panics with an error that wraps ErrOverflow where the stack has no room, before anything is
// written, and with an error that names the field if T contains pointers.
//
// Cost: inlined, two subtractions, one comparison, one store. The check of the type is a constant.
func New[T any](s *Stack) *T { return bump[T](s, refill) }

// bump is New with its slow path as a parameter, for the inliner: see arena.bump, which says why.
func bump[T any](s *Stack, refill func(s *Stack, size uintptr, p any)) *T {
	top := s.head.Top
	// The constants come first: behind the comparison they would leave further branches. What has
	// no size is always looked at, for it fits on a stack that was put, too.
	if pointerfree.Words((*T)(nil)) != 0 || unsafe.Sizeof(cell[T]{}) == 0 || top-s.head.Limit < unsafe.Sizeof(cell[T]{}) {
		refill(s, unsafe.Sizeof(cell[T]{}), (*T)(nil))
	}
	top -= unsafe.Sizeof(cell[T]{})
	s.head.Top = top
	return (*T)(unsafe.Add(unsafe.Pointer(s), top))
}

// cell is a T as it lies on a stack: aligned, and its size rounded up, to the granule.
type cell[T any] struct {
	_ [0]atomic.Uint64
	_ T
}

// refill is the slow path of New: it makes room, or panics.
func refill(s *Stack, size uintptr, p any) {
	s.usable("stack.New")
	mustBePointerFree(p)
	if err := s.reach(size); err != nil {
		panic(err)
	}
}

// mustBePointerFree panics if what p, a nil *T, points to contains pointers. It is not shared with
// the other packages: see there.
func mustBePointerFree(p any) {
	if pointerfree.Trusted && pointerfree.Words(p) == 0 {
		return
	}
	if err := pointerfree.Check(reflect.TypeOf(p).Elem()); err != nil {
		panic(fmt.Errorf("stack: %w", err))
	}
}

// TryNew is New that returns its error. It panics if T contains pointers.
func TryNew[T any](s *Stack) (*T, error) {
	s.usable("stack.TryNew")
	mustBePointerFree((*T)(nil))
	p, err := s.take(unsafe.Sizeof(*new(T)), granule)
	return (*T)(p), err
}

// take hands out size zeroed bytes. align is a power of two from granule to maxAlign.
func (s *Stack) take(size, align uintptr) (unsafe.Pointer, error) {
	at := uintptr(unsafe.Pointer(s))
	room := s.head.Top // more than any stack has
	if size <= room {
		room = s.head.Top - (at+s.head.Top-size)&^(align-1) + at
		if err := s.reach(room); err != nil {
			return nil, err
		}
		s.head.Top -= room
		return s.at(s.head.Top), nil
	}
	return nil, s.reach(size)
}

// MakeSlice returns a slice of zeroed elements with the given length and capacity, as make does. It
// panics as New does; a negative length, or one above capacity, panics too.
func MakeSlice[T any](s *Stack, length, capacity int) []T {
	return must(TryMakeSlice[T](s, length, capacity))
}

// TryMakeSlice is MakeSlice that returns its error: no room, or a size that no memory could hold.
// It panics if T contains pointers.
func TryMakeSlice[T any](s *Stack, length, capacity int) ([]T, error) {
	s.usable("stack.MakeSlice")
	mustBePointerFree((*T)(nil))
	if length < 0 || length > capacity {
		return nil, fmt.Errorf("stack: a slice of length %d and capacity %d cannot be", length, capacity)
	}
	hi, size := bits.Mul(uint(capacity), uint(unsafe.Sizeof(*new(T))))
	if hi != 0 || int(size) < 0 {
		return nil, fmt.Errorf("stack: %d elements of %d bytes are more than addresses can hold: %w", capacity, unsafe.Sizeof(*new(T)), guard.ErrNoMemory)
	}
	p, err := s.take(uintptr(size), granule)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), capacity)[:length], nil
}

// Alloc returns size zeroed bytes, aligned to align: a power of two up to 4096. It panics as New
// does, and for sizes and alignments that cannot be.
func (s *Stack) Alloc(size, align int) []byte { return must(s.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error.
func (s *Stack) TryAlloc(size, align int) ([]byte, error) {
	s.usable("stack.Alloc")
	if size < 0 || align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return nil, fmt.Errorf("stack: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
	}
	p, err := s.take(uintptr(size), max(uintptr(align), granule))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
