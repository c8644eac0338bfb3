//go:build !race

package allocbench

import (
	"sync/atomic"
	"unsafe"
)

// publish stores an index of a ring so that a goroutine that loads it sees the objects stored before. A plain
// store does on amd64, as in the drivers for C allocators; Store would wait for all stores before it.
func publish(index *atomic.Uint64, x uint64) { *(*uint64)(unsafe.Pointer(index)) = x }
