package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Text is a text in pieces for standard error. Signal handlers may use it: it takes no lock, no
// memory, and little stack. To take little without optimisation and with coverage counters, too, its methods
// are not inlined and take strings by address. It must not move, nor the texts in it.
type Text struct {
	n      uintptr
	pieces [16]struct { // the kernel's struct iovec
		base uintptr
		n    uintptr
	}
	digits [64]byte // numbers, the first at the end
	used   uintptr  // of digits
}

// Clear makes an empty Text, of any memory.
//
//go:nosplit
//go:noinline
//go:norace
func (t *Text) Clear() { t.n, t.used = 0, 0 }

// Add adds a text, if there is room: for 15.
//
//go:nosplit
//go:noinline
//go:norace
func (t *Text) Add(s *string) {
	t.add(uintptr(unsafe.Pointer(unsafe.StringData(*s))), uintptr(len(*s)))
}

//go:nosplit
//go:noinline
//go:norace
func (t *Text) add(base, n uintptr) {
	if i := t.n & 15; i < 15 {
		t.pieces[i].base, t.pieces[i].n = base, n
		t.n++
	}
}

// AddNumber adds a number, if there is room: for three.
//
//go:nosplit
//go:noinline
//go:norace
func (t *Text) AddNumber(n, base uintptr) {
	before := t.used
	for t.used < 64 {
		t.used++
		t.digits[(64-t.used)&63] = "0123456789abcdef"[n%base&15]
		if n /= base; n == 0 {
			break
		}
	}
	t.add(uintptr(unsafe.Pointer(&t.digits))+64-t.used, t.used-before)
}

// Write writes all pieces in one call.
//
//go:nosplit
//go:noinline
//go:norace
func (t *Text) Write() {
	unix.RawSyscall(unix.SYS_WRITEV, 2, uintptr(unsafe.Pointer(&t.pieces)), t.n)
}

// Readable tells whether 8 bytes at an address can be read, without touching them. Signal handlers
// may use it.
//
//go:nosplit
//go:noinline
//go:norace
func Readable(addr uintptr) bool {
	// The kernel reads the set of signals before it refuses what to do with them.
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, ^uintptr(0), addr, 0, 8, 0, 0)
	return errno == unix.EINVAL
}

// Nap sleeps for a millisecond, through signals too: the Go runtime sends some to a thread that it wants to have back.
// Signal handlers may use it.
//
//go:nosplit
//go:noinline
//go:norace
func Nap() {
	left := [2]uintptr{0, 1_000_000} // the kernel's struct timespec
	for interrupted := true; interrupted; {
		_, _, errno := unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		interrupted = errno == unix.EINTR
	}
}

// FileEnd returns the bytes of an open file, rounded up to OS pages: a mapping may be touched up to there. It is 0 if it
// cannot be told. One signal handler at a time may use it.
//
//go:nosplit
//go:noinline
//go:norace
func FileEnd(fd int) int64 {
	if _, _, errno := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&handlerStat)), 0); errno != 0 {
		return 0
	}
	page := int64(handlerPage)
	return (handlerStat.Size + page - 1) &^ (page - 1)
}

var (
	handlerStat unix.Stat_t // stacks of signal handlers are small
	handlerPage = unix.Getpagesize()
)
