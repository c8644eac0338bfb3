package arena

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// Ref is a reference to a T in an arena: 8 bytes without a pointer, so it may be stored in
// the arena. It is an offset and does not depend on where the arena lies. The zero Ref is nil.
// It belongs to one arena and dies with what it refers to.
type Ref[T any] struct{ off uint64 }

// IsNil tells whether r refers to nothing.
func (r Ref[T]) IsNil() bool { return r.off == 0 }

// RefOf returns a Ref to p, which must lie in a; nil gives the nil Ref. A pointer that lies
// elsewhere is a *guard.Violation.
//
// Cost: inlined, two comparisons.
func RefOf[T any](a *Arena, p *T) Ref[T] {
	return Ref[T]{offsetOf(a, unsafe.Pointer(p), unsafe.Sizeof(*p), noOffset)}
}

// offsetOf returns the offset of p. It has its slow path as a parameter for the reason that bump has.
func offsetOf(a *Arena, p unsafe.Pointer, size uintptr, noOffset func(a *Arena, p unsafe.Pointer) uint64) uint64 {
	off := uintptr(p) - uintptr(a.base) // wraps if p lies below
	if off-first > a.top-first || off+size > a.top {
		return noOffset(a, p)
	}
	return uint64(off)
}

// noOffset returns 0 for nil, and panics for what does not lie in the arena.
func noOffset(a *Arena, p unsafe.Pointer) uint64 {
	a.usable("RefOf")
	if p != nil {
		panic(elsewhere(a.violation("RefOf", guard.InvalidPointer, ""), a.base, p))
	}
	return 0
}

// elsewhere completes the violation of referring to what does not lie in the arena.
func elsewhere(v *guard.Violation, base, p unsafe.Pointer) *guard.Violation {
	v.Detail, v.Addr, v.Offset = "into other memory", uintptr(p), int(uintptr(p)-uintptr(base))
	return v
}

// Deref returns the object that r refers to; nil for the nil Ref. A Ref that does not lie in
// what a has handed out is a *guard.Violation. The Ref of another arena that happens to lie inside
// goes unnoticed, and so does one that outlived its object.
//
// Cost: inlined, two comparisons.
func (r Ref[T]) Deref(a *Arena) *T { return deref[T](a, r.off, outside) }

// deref has its slow path as a parameter for the reason that bump has.
func deref[T any](a *Arena, off uint64, outside func(a *Arena, off uint64) unsafe.Pointer) *T {
	if off-first > uint64(a.top-first) || off+uint64(unsafe.Sizeof(*new(T))) > uint64(a.top) {
		return (*T)(outside(a, off))
	}
	return (*T)(unsafe.Add(a.base, off))
}

// outside is the slow path of Deref: it returns nil for the nil Ref, and panics for others. Inlined,
// it would be 180 instructions in each caller.
//
//go:noinline
func outside(a *Arena, off uint64) unsafe.Pointer {
	if off == 0 {
		return nil
	}
	a.usable("Deref")
	panic(beyond(a.violation("Deref", guard.InvalidPointer, ""), off))
}

// beyond completes the violation of following a reference to where nothing is.
func beyond(v *guard.Violation, off uint64) *guard.Violation {
	v.Detail, v.Offset = "reference to memory that is not handed out", int(off)
	return v
}

// Slice returns the n objects that start at r: what MakeSlice made, if r is the Ref of its first
// element. n must not be negative. For the nil Ref n must be 0.
func (r Ref[T]) Slice(a *Arena, n int) []T {
	if r.off == 0 && n == 0 {
		return nil
	}
	if a == nil || !within[T](r.off, n, uint64(a.top)) {
		a.usable("Slice")
		panic(beyond(a.violation("Slice", guard.InvalidPointer, ""), r.off))
	}
	return unsafe.Slice((*T)(unsafe.Add(a.base, r.off)), n)
}

// within tells whether n objects fit between off and top.
func within[T any](off uint64, n int, top uint64) bool {
	size := uint64(unsafe.Sizeof(*new(T)))
	return n >= 0 && off >= first && off <= top && (size == 0 || uint64(n) <= (top-off)/size)
}
