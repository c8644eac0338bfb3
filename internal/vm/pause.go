//go:build unix && (amd64 || arm64)

package vm

// Pause lets the processor know that the thread spins, n times.
//
//go:noescape
func Pause(n int)
