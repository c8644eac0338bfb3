//go:build !race

package race

// Enabled tells whether the race detector watches this build.
const Enabled = false

// Unseen calls f.
func Unseen(f func()) { f() }

// Errors returns 0.
func Errors() int { return 0 }
