//go:build unix && !amd64 && !arm64

package vm

import "sync/atomic"

var paused atomic.Uint32

// Pause passes some time, n times.
func Pause(n int) {
	for range n {
		paused.Load()
	}
}
