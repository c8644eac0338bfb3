package vm

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWait = 0
	futexWake = 1

	futexU32     = 2   // FUTEX2_SIZE_U32
	futexPrivate = 128 // nobody but this process has the word
)

// WaitWord is a word to wait at, as the kernel takes it (struct futex_waitv).
type WaitWord struct {
	value   uint64
	address uint64
	flags   uint32
	_       uint32
}

// WaitWhile returns a word to wait at for as long as it has the value. private says that no other process has the word.
// The caller keeps the word where it is, and alive, while somebody waits.
func WaitWhile(word *atomic.Uint32, value uint32, private bool) WaitWord {
	w := WaitWord{value: uint64(value), address: uint64(uintptr(unsafe.Pointer(word))), flags: futexU32}
	if private {
		w.flags |= futexPrivate
	}
	return w
}

// MaxWaitWords is the most words that WaitAny takes.
const MaxWaitWords = 128

// WaitAny waits until somebody wakes one of the words. It returns at once if a word has another value than the one to wait
// with, and now and then without a reason: so the caller looks again. It holds an OS thread meanwhile. ErrUnsupported before
// Linux 5.16, and where a sandbox refuses the call.
func WaitAny(words []WaitWord) error {
	if err := failing(Futex); err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(words))), uintptr(len(words)), 0, 0, 0, 0)
	switch errno {
	case 0, unix.EAGAIN, unix.EINTR:
		return nil
	case unix.ENOSYS, unix.EPERM:
		return ErrUnsupported
	}
	return errno
}

// Wait waits as WaitAny does, at one word that other processes have too, and at most for a time.
func Wait(word *atomic.Uint32, value uint32, most time.Duration) error {
	if err := failing(Futex); err != nil {
		return err
	}
	t := unix.NsecToTimespec(int64(most))
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(value), uintptr(unsafe.Pointer(&t)), 0, 0)
	switch errno {
	case 0, unix.EAGAIN, unix.EINTR, unix.ETIMEDOUT:
		return nil
	}
	return errno
}

// Wake wakes at most n of those who wait at a word. private is what WaitWhile was told.
func Wake(word *atomic.Uint32, n int, private bool) {
	op := uintptr(futexWake)
	if private {
		op |= futexPrivate
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, uintptr(n), 0, 0, 0)
}
