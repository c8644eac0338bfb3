//go:build gc && !race && !msan && !asan && !offheap_pin && !go1.28 && (linux || darwin || freebsd || netbsd || openbsd) && (386 || amd64 || arm64)

package percpu

import (
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// offset is where in the runtime's m the pointer to its p stands. Processors from limit on have no cache.
//
// Both are 0 where init does not trust this way to the processor. Here then reads through the first word of
// m, which points to a g, and takes what it finds there for no processor's number. So that Here can be
// switched off costs one instruction: offset is loaded, and would otherwise be a constant.
var (
	offset uintptr
	limit  uint32
)

func init() {
	if !fuzzing(os.Args) {
		offset, limit = verified(mOffset(runtime.GOOS), leadsToP)
	}
}

// Here returns the cache of the processor that the goroutine is on: nil if there is none, and where this
// way to the processor is not to be trusted. Only a leaf may call it, before all else, and use the cache
// until it returns: see the package comment. (Here costs 80 of the inliner's 80.)
//
//go:nosplit
//go:nocheckptr
func Here[T any](t *Table[T]) *T {
	// The table begins with its caches. A plain load will do: what a cache holds is loaded through the
	// pointer, so it cannot be older. (A call of an atomic function would be one in builds without inlining.)
	id := **(**uint32)(unsafe.Add(getm(), offset))
	if id >= limit {
		return nil
	}
	return *(**T)(unsafe.Add(unsafe.Pointer(t), id*uint32(unsafe.Sizeof(t))))
}

// mHead is how the runtime's m begins in Go 1.26 and 1.27, with the runtime's names. (In 1.27 signalSecret is
// a byte, which moves nothing.) The size of the signal set differs between systems. The offsets were compared
// with the debug information of programs for each system and architecture above, and both versions.
type mHead[sigset any] struct {
	g0           unsafe.Pointer
	morebuf      struct{ sp, pc, g, ctxt, lr, bp uintptr }
	divmod       uint32
	procid       uint64
	gsignal      uintptr
	goSigStack   struct{ lo, hi, stackguard0, stackguard1, stktopsp uintptr }
	sigmask      sigset
	tls          [6]uintptr
	mstartfn     uintptr
	curg         uintptr
	caughtsig    uintptr
	signalSecret uint32
	p            *pHead
}

// pHead is how the runtime's p begins.
type pHead struct {
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

// mOffset returns where p should stand in an m of a system, 0 if that is not known.
func mOffset(system string) uintptr {
	switch system {
	case "linux", "android":
		return unsafe.Offsetof(mHead[[2]uint32]{}.p)
	case "darwin", "ios", "openbsd":
		return unsafe.Offsetof(mHead[uint32]{}.p)
	case "freebsd", "netbsd":
		return unsafe.Offsetof(mHead[[4]uint32]{}.p)
	}
	return 0
}

// verified returns an offset and Max if leads finds each time that the offset leads to the processor, and
// twice 0 if not.
func verified(offset uintptr, leads func(offset uintptr) bool) (uintptr, uint32) {
	for range 3 {
		if offset == 0 || !leads(offset) {
			return 0, 0
		}
		runtime.Gosched() // perhaps to another processor
	}
	return offset, Max
}

// leadsToP reports whether the word at an offset of the goroutine's m points to its p.
func leadsToP(offset uintptr) bool {
	processor := procPin()
	m := getm()
	ok := isP(unsafe.Add(m, offset), processor, m)
	procUnpin()
	return ok
}

// isP reports whether a word points to the p that has this number and runs on m. The word that leads back to
// m is the proof: a number alone, most often 0, could stand anywhere. isP reads through the word only if a
// pointer could look like that: no small number, and aligned. The caller is pinned, so that the collector does
// not come upon what may be no pointer.
func isP(word unsafe.Pointer, processor int, m unsafe.Pointer) bool {
	w := *(*uintptr)(word)
	if w < 4096 || w%unsafe.Sizeof(w) != 0 {
		return false
	}
	p := *(**pHead)(word)
	return int(p.id) == processor && p.m == uintptr(m)
}

// fuzzing reports whether go test -fuzz runs the program. The compiler has then put a call into each
// comparison, of an empty function in which a goroutine can be interrupted. No build tag tells.
func fuzzing(args []string) bool {
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name == "test.fuzz" || name == "test.fuzzworker" {
			return true
		}
	}
	return false
}
