package slab

import "unsafe"

func sliceData(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func addr(b []byte) uintptr { return uintptr(sliceData(b)) }

// behind returns the byte at a distance behind the start of b.
func behind(b []byte, n int) []byte { return unsafe.Slice((*byte)(unsafe.Add(sliceData(b), n)), 1) }
