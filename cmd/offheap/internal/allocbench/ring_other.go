//go:build race || !amd64

package allocbench

import "sync/atomic"

// publish stores an index of a ring so that a goroutine that loads it sees the objects stored before.
func publish(index *atomic.Uint64, x uint64) { index.Store(x) }
