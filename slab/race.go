package slab

import "unsafe"

// RaceWrite tells the race detector, in builds for it, that the goroutine writes to the object that b is, or is
// part of. In other builds it does nothing, and costs nothing. The package comment says when to call it.
func (h *Heap) RaceWrite(b []byte) { h.markWrite(unsafe.Pointer(unsafe.SliceData(b))) }

// RaceWrite is Heap.RaceWrite.
func (p *Pool[T]) RaceWrite(x *T) { p.opened("RaceWrite").markWrite(unsafe.Pointer(x)) }
