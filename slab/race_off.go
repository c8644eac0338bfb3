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

// usedByFree is used for Free, and true: a load, where KeepAlive would have the compiler store l. Stores are what
// counts on the fast path.
func (l *Local) usedByFree() bool { return l.front != nil }

func (*front) acquire() {}
