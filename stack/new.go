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

// granule is the alignment of every object, and the unit of its size. No Go type needs more.
const granule = 8

// maxAlign is the largest alignment that Alloc gives: the smallest OS page of any system.
const maxAlign = 4096

// New allocates a zeroed T on the stack. It lives until the Pop of the innermost frame at the time, or until
// the stack is put. New panics with an error that wraps ErrOverflow where the stack has no room,
// and then has written nothing. It panics with an error that names the field if T contains Go pointers.
//
// Cost: inlined, two subtractions, one comparison, one store. The check of the type is a constant.
func New[T any](s *Stack) *T { return bump[T](s, refill) }

// bump is New with its slow path as a parameter, for the inliner: arena.bump says why.
func bump[T any](s *Stack, refill func(s *Stack, size uintptr, p any)) *T {
	top := s.head.Top
	// The constants come first: behind the comparison they would leave further branches. A type of size
	// 0 always takes the slow path: it would fit on a stack that was put, too.
	if pointerfree.Words((*T)(nil)) != 0 || unsafe.Sizeof(cell[T]{}) == 0 || top-s.head.Limit < unsafe.Sizeof(cell[T]{}) {
		refill(s, unsafe.Sizeof(cell[T]{}), (*T)(nil))
	}
	top -= unsafe.Sizeof(cell[T]{})
	s.head.Top = top
	return (*T)(unsafe.Add(unsafe.Pointer(s), top))
}

// cell is a T whose alignment is the granule, and whose size is a multiple of it.
type cell[T any] struct {
	_ [0]atomic.Uint64
	_ T
}

// refill is the slow path of New: it makes room for size bytes, or panics.
func refill(s *Stack, size uintptr, p any) {
	s.usable("stack.New")
	mustBePointerFree(p)
	if err := s.makeRoom(size); err != nil {
		panic(err)
	}
}

// mustBePointerFree panics if T contains Go pointers; p is a nil *T. Each allocator has its own copy, for the
// inliner: arena says why.
func mustBePointerFree(p any) {
	if pointerfree.Trusted && pointerfree.Words(p) == 0 {
		return
	}
	if err := pointerfree.Check(reflect.TypeOf(p).Elem()); err != nil {
		panic(fmt.Errorf("stack: %w", err))
	}
}

// TryNew is New that returns ErrOverflow, wrapped, where the stack has no room. It panics if T contains Go
// pointers, as New does.
func TryNew[T any](s *Stack) (*T, error) {
	s.usable("stack.TryNew")
	mustBePointerFree((*T)(nil))
	p, err := s.alloc(unsafe.Sizeof(*new(T)), granule)
	return (*T)(p), err
}

// alloc returns size zeroed bytes. align is a power of two from granule to maxAlign.
func (s *Stack) alloc(size, align uintptr) (unsafe.Pointer, error) {
	at := uintptr(unsafe.Pointer(s))
	room := s.head.Top // more than any stack has
	if size <= room {
		room = s.head.Top - (at+s.head.Top-size)&^(align-1) + at
		if err := s.makeRoom(room); err != nil {
			return nil, err
		}
		s.head.Top -= room
		return s.at(s.head.Top), nil
	}
	return nil, s.makeRoom(size)
}

// MakeSlice allocates a slice of zeroed elements with the given length and capacity, as make does. It
// lives as long as an object of New, and MakeSlice panics as New does. It also panics if length is
// negative or above capacity. An append beyond the capacity copies the elements to the Go heap.
func MakeSlice[T any](s *Stack, length, capacity int) []T {
	return must(TryMakeSlice[T](s, length, capacity))
}

// TryMakeSlice is MakeSlice that returns its error: ErrOverflow, wrapped, where the stack has no room;
// guard.ErrNoMemory, wrapped, for a size that no address space can hold; or an error about length and
// capacity. It panics if T contains Go pointers.
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
	p, err := s.alloc(uintptr(size), granule)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), capacity)[:length], nil
}

// Alloc allocates size zeroed bytes, aligned to align: a power of two up to 4096. They live as long as an
// object of New, and Alloc panics as New does. It also panics for a negative size and for any other
// alignment. The result has length and capacity size.
func (s *Stack) Alloc(size, align int) []byte { return must(s.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error: ErrOverflow, wrapped, where the stack has no room, or an error
// about size and alignment.
func (s *Stack) TryAlloc(size, align int) ([]byte, error) {
	s.usable("stack.Alloc")
	if size < 0 || align <= 0 || align&(align-1) != 0 || align > maxAlign {
		return nil, fmt.Errorf("stack: %d bytes aligned to %d: the size must not be negative, the alignment a power of two up to %d", size, align, maxAlign)
	}
	p, err := s.alloc(uintptr(size), max(uintptr(align), granule))
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
