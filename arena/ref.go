package arena

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Ref is a reference to a T in an arena. It has 8 bytes and no Go pointer, so it may be stored in an arena. It
// is an offset, and does not depend on the address of the arena. The zero Ref is nil. A Ref is for one arena,
// and valid as long as the object. Two Refs are equal (==) if they refer to the same place.
type Ref[T any] struct{ off uint64 }

// IsNil tells whether r is nil.
func (r Ref[T]) IsNil() bool { return r.off == 0 }

// RefOf returns a Ref to p: an object in a, or an element of a slice or a field of a struct in a. For nil it
// returns the nil Ref. A pointer to other memory is a *guard.Violation.
//
// Cost: inlined: two comparisons.
func RefOf[T any](a *Arena, p *T) Ref[T] {
	return Ref[T]{offsetOf(a, unsafe.Pointer(p), unsafe.Sizeof(*p), noOffset)}
}

// offsetOf returns the offset of p. Its slow path is a parameter so that it is inlined: see bump.
func offsetOf(a *Arena, p unsafe.Pointer, size uintptr, noOffset func(a *Arena, p unsafe.Pointer) uint64) uint64 {
	off := uintptr(p) - uintptr(a.base) // wraps if p lies below
	if off-first > a.top-first || off+size > a.top {
		return noOffset(a, p)
	}
	return uint64(off)
}

// noOffset is the slow path of RefOf: it returns 0 for nil, and panics for a pointer outside the arena.
func noOffset(a *Arena, p unsafe.Pointer) uint64 {
	a.usable("RefOf")
	if p != nil {
		panic(inOtherMemory(a.violation("RefOf", guard.InvalidPointer, ""), a.base, p))
	}
	return 0
}

// inOtherMemory completes the violation of a pointer that is not in the arena.
func inOtherMemory(v *guard.Violation, base, p unsafe.Pointer) *guard.Violation {
	v.Detail, v.Addr, v.Offset = "into other memory", uintptr(p), int(uintptr(p)-uintptr(base))
	return v
}

// Deref returns the object that r refers to; nil for the nil Ref. A Ref outside the memory that a has handed out
// is a *guard.Violation. A Ref that outlived its object goes unnoticed if memory was handed out there again, and
// so does the Ref of another arena that happens to be inside.
//
// Cost: inlined: two comparisons.
func (r Ref[T]) Deref(a *Arena) *T { return deref[T](a, r.off, derefSlowly) }

// deref is Deref with its slow path as a parameter, so that it is inlined: see bump.
func deref[T any](a *Arena, off uint64, slow func(a *Arena, off uint64) unsafe.Pointer) *T {
	if off-first > uint64(a.top-first) || off+uint64(unsafe.Sizeof(*new(T))) > uint64(a.top) {
		return (*T)(slow(a, off))
	}
	return (*T)(unsafe.Add(a.base, off))
}

// derefSlowly is the slow path of Deref: it returns nil for the nil Ref, and panics for others. If it were
// inlined it would add 180 instructions to each caller.
//
//go:noinline
func derefSlowly(a *Arena, off uint64) unsafe.Pointer {
	if off == 0 {
		return nil
	}
	a.usable("Deref")
	panic(notHandedOut(a.violation("Deref", guard.InvalidPointer, ""), off))
}

// notHandedOut completes the violation of a reference to memory that is not handed out.
func notHandedOut(v *guard.Violation, off uint64) *guard.Violation {
	v.Detail, v.Offset = "reference to memory that is not handed out", int(off)
	return v
}

// Slice returns the n objects from r on, with capacity n: the slice that MakeSlice made, if r refers to its first
// element. The objects must lie in the memory that a has handed out: otherwise it is a *guard.Violation, and so is
// a negative n. For the nil Ref n must be 0, and the slice is nil.
func (r Ref[T]) Slice(a *Arena, n int) []T {
	if r.off == 0 && n == 0 {
		return nil
	}
	if a == nil || !within[T](r.off, n, uint64(a.top)) {
		a.usable("Slice")
		panic(notHandedOut(a.violation("Slice", guard.InvalidPointer, ""), r.off))
	}
	return unsafe.Slice((*T)(unsafe.Add(a.base, r.off)), n)
}

// within tells whether n objects fit between off and top.
func within[T any](off uint64, n int, top uint64) bool {
	size := uint64(unsafe.Sizeof(*new(T)))
	return n >= 0 && off >= first && off <= top && (size == 0 || uint64(n) <= (top-off)/size)
}
