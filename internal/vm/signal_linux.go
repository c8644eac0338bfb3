//go:build amd64 || arm64

package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Action tells the kernel how to handle a signal: its struct sigaction.
type Action struct {
	Handler  uintptr // 0 is the default, 1 ignores
	Flags    uint64
	Restorer uintptr
	Mask     uint64
}

// SignalAction returns how a signal is handled.
func SignalAction(sig int) (a Action, err error) { return a, sigaction(sig, nil, &a) }

// SetSignalAction sets how a signal is handled, for the whole process.
func SetSignalAction(sig int, a Action) error { return sigaction(sig, &a, nil) }

func sigaction(sig int, to, from *Action) error {
	if err := failing(Sigaction); err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), unsafe.Sizeof(from.Mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
