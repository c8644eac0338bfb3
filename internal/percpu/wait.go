package percpu

import "runtime"

// Wait returns when all pinned sections, and all leaves, are over that had begun before. It stops the world for some
// microseconds.
func Wait() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
}
