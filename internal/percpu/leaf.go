//go:build gc && !race && !msan && !asan && !offheap_pin && !go1.28 && (linux || darwin || freebsd || netbsd || openbsd) && (386 || amd64 || arm64)

package percpu

import (
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// offset is where the pointer to the p should stand in an m.
const offset = unsafe.Offsetof(mHead{}.p)

// untrusted is whether it was not found there, or not looked for yet.
var untrusted = true

func init() { untrusted = fuzzing(os.Args) || !inlines() || !verified(leadsToP) }

// Processor returns the number of the processor that the goroutine is on. ok is false from Max on, and where
// this way to the number is not to be trusted. Only a leaf may call it, before anything else: see the package
// comment. (It costs 80 of the inliner's 80.)
//
//go:nosplit
//go:nocheckptr
func Processor() (id uint32, ok bool) {
	m := getm()
	if untrusted {
		return 0, false
	}
	id = **(**uint32)(unsafe.Add(m, offset))
	return id, id < Max
}

// mHead is how the runtime's m begins in Go 1.26 and 1.27, with the runtime's names. (In 1.27 signalSecret is
// a byte, which moves nothing.) The size of sigset differs between systems. The offset was compared with the
// debug information of programs for each system and architecture above, and both versions.
type mHead struct {
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

// verified reports whether leads finds each time that m leads to the processor.
func verified(leads func() bool) bool {
	for range 3 {
		if !leads() {
			return false
		}
		runtime.Gosched() // perhaps to another processor
	}
	return true
}

// leadsToP reports whether the goroutine's m points to its p.
func leadsToP() bool {
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

// inlines reports whether the compiler inlines calls: with -gcflags=all=-l a leaf calls its helpers. A goroutine
// can be interrupted at the start of each, even of a nosplit one, where the instructions that make its frame are
// not marked as unsafe points.
func inlines() bool { return through(callerEntry) == callerEntry() }

// through is inlined where anything is.
func through(entry func() uintptr) uintptr { return entry() }

// callerEntry returns where the function starts whose machine code calls it.
//
//go:noinline
func callerEntry() uintptr {
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return runtime.FuncForPC(pcs[0] - 1).Entry()
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
