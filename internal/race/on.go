//go:build race

package race

import "runtime"

// Enabled tells whether the race detector watches this build.
const Enabled = true

// Unseen calls f without the detector seeing how f synchronises goroutines. So a test can order what two
// goroutines do and have the detector report it as a race all the same.
func Unseen(f func()) {
	runtime.RaceDisable()
	defer runtime.RaceEnable()
	f()
}

// Errors returns how many races the detector has reported.
func Errors() int { return runtime.RaceErrors() }
