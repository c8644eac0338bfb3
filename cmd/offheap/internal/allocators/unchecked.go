package allocators

import "unsafe"

// Inner loops use the functions of this file, so that their machine code does no more than gcc's for the drivers of C
// allocators: no bounds checks, and no question at each store of an address whether the collector is marking.

// At returns the address of s[i], without a bounds check.
func At[T any](s []T, i uint32) *T {
	var t T
	return (*T)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), uintptr(i)*unsafe.Sizeof(t)))
}

// Stamp writes to the first and the last byte of an object that is not empty, without a bounds check.
func Stamp(b []byte, first, last byte) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	*(*byte)(p) = first
	*(*byte)(unsafe.Add(p, len(b)-1)) = last
}

// Write writes 8 bytes to an object that has as many, without a bounds check.
func Write(b []byte, x uint64) { *(*uint64)(unsafe.Pointer(unsafe.SliceData(b))) = x }

// Keep stores the address of an object off the Go heap, of which the collector need not hear; of no
// object, nil.
func Keep(place *Object, b []byte) {
	*(*uintptr)(unsafe.Pointer(place)) = uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

// KeepTraced stores the address of an object that may be on the Go heap; of no object, nil.
func KeepTraced(place *Object, b []byte) { *place = unsafe.SliceData(b) }
