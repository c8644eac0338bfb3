//go:build !race

package slab

import (
	"runtime"
	"unsafe"
)

// marks are for the race detector: see race_on.go.
type marks struct{}

func (*Heap) markAlloc(uint32)         {}
func (*Heap) markRead(unsafe.Pointer)  {}
func (*Heap) markWrite(unsafe.Pointer) {}

// used ends each use of a Local: until then what OnSoft does comes from a Local in use. See race_on.go, too.
func (l *Local) used() { runtime.KeepAlive(l) }

func (*cache) acquire() {}
