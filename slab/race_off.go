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

// used keeps the Local reachable up to here, at the end of what uses its front: its cleanup must not
// run before. In builds for the race detector it does more: see race_on.go.
func (l *Local) used() { runtime.KeepAlive(l) }

// usedByFree is used for Free, and true: it is a load, where KeepAlive would have the compiler store l, and
// stores are what counts there. With the store C1 took a tenth longer.
func (l *Local) usedByFree() bool { return l.front != nil }

func (*front) acquire() {}
