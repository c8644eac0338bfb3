//go:build !amd64

package allocbench

// pause does nothing: only the drivers for C allocators on amd64 have an instruction for it.
func pause() {}
