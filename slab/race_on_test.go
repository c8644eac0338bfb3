//go:build race

package slab

import "runtime"

const raceDetector = true

// unseen calls what synchronises goroutines, and the detector does not know.
func unseen(f func()) {
	runtime.RaceDisable()
	defer runtime.RaceEnable()
	f()
}
