//go:build gc && !race && !msan && !asan && !offheap_pin && !go1.28 && (linux || darwin || freebsd || netbsd || openbsd) && (386 || amd64 || arm64)

package percpu

import (
	"runtime"
	"unsafe"
)

// place is where in the runtime's m the pointer to its p stands, and limit is the number from which on
// processors have no cache. Both stay 0 where init finds the p elsewhere: then Here reads the first word of
// g0, which the first word of m points to, and takes no number for a processor's.
var (
	place uintptr
	limit uint32
)

func init() { place, limit = placeAndLimit(head) }

// Here returns the cache of the processor that the goroutine is on: nil if there is none, and where this
// way to the processor is not to be had. It is the first call, and the only one, of a function with the
// three directives go:nosplit, go:noinline and go:nocheckptr, which may use the cache until it returns. See
// the package comment.
//
//go:nosplit
//go:nocheckptr
func Here[T any](t *Table[T]) *T {
	i := **(**uint32)(unsafe.Add(getm(), place))
	if i < limit {
		return *(**T)(unsafe.Add(unsafe.Pointer(t), i*uint32(unsafe.Sizeof(t))))
	}
	return nil
}

// The heads of runtime.m and runtime.p in Go 1.26 and 1.27, with the names that the runtime uses. (A word
// of four bytes before m.p is a byte in 1.27.) sigset differs between systems.
type (
	mHead[sigset any] struct {
		g0         uintptr
		morebuf    struct{ sp, pc, g, ctxt, lr, bp uintptr }
		divmod     uint32
		procid     uint64
		gsignal    uintptr
		goSigStack struct{ lo, hi, stackguard0, stackguard1, stktopsp uintptr }
		sigmask    sigset
		tls        [6]uintptr
		mstartfn   uintptr
		curg       uintptr
		caughtsig  uintptr
		secret     uint32
		p          uintptr
	}
	pHead struct {
		id          int32
		status      uint32
		link        uintptr
		schedtick   uint32
		syscalltick uint32
		sysmontick  struct {
			schedtick, syscalltick uint32
			schedwhen, syscallwhen int64
		}
		m uintptr
	}
)

// headOffset returns where m.p is expected.
func headOffset(system string) uintptr {
	switch system {
	case "linux":
		return unsafe.Offsetof(mHead[[2]uint32]{}.p)
	case "darwin", "openbsd":
		return unsafe.Offsetof(mHead[uint32]{}.p)
	}
	return unsafe.Offsetof(mHead[[4]uint32]{}.p)
}

// placeAndLimit returns the offset of m.p and Max, or twice 0 if check does not find the p there.
func placeAndLimit(check func(offset uintptr) bool) (place uintptr, limit uint32) {
	offset := headOffset(runtime.GOOS)
	for range 3 {
		if !check(offset) {
			return 0, 0
		}
		runtime.Gosched() // perhaps to another processor
	}
	return offset, Max
}

// head reports whether the word at offset of this thread's m points to the p of the processor: its number is
// the one that the pin tells, and its m is the one that we came from.
func head(offset uintptr) bool {
	processor := procPin()
	m := getm()
	ok := pointsToP(m, unsafe.Add(m, offset), processor)
	procUnpin()
	return ok
}

// pointsToP reports whether word holds a pointer to the p with this number which runs on m. It reads through
// the word only if a pointer could look like that.
func pointsToP(m, word unsafe.Pointer, processor int) bool {
	w := *(*uintptr)(word)
	if w < 4096 || w%unsafe.Alignof(pHead{}) != 0 {
		return false
	}
	p := *(**pHead)(word)
	return int(p.id) == processor && p.m == uintptr(m)
}
