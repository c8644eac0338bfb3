//go:build !race

package slab

import "unsafe"

// marks are for the race detector: see race_on.go.
type marks struct{}

func (*Heap) markAlloc(uint32)         {}
func (*Heap) markRead(unsafe.Pointer)  {}
func (*Heap) markWrite(unsafe.Pointer) {}

// used ends each use of a Local, in builds for the race detector: see race_on.go.
func (*Local) used() {}

func (*cache) acquire() {}
