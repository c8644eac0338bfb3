//go:build !gc || race || msan || asan || offheap_pin || go1.28 || !(linux || darwin || freebsd || netbsd || openbsd) || !(386 || amd64 || arm64)

package percpu

// Processor returns false: in this build only Pin leads to the processor's cache.
//
//go:nosplit
func Processor() (id uint32, ok bool) { return 0, false }
