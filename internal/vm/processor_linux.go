//go:build !amd64

package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Processor returns the number of the processor that the thread runs on at this moment; -1 if it is not known.
func Processor() int {
	var n uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&n)), 0, 0); errno != 0 {
		return -1
	}
	return int(n)
}
