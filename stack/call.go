package stack

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
)

// redZone is what native code leaves alone above its first frame: the profiler may read there when
// its signal comes in the middle of the switch.
const redZone = 64

// Call runs native code on the stack, below what is allocated there, with up to six integer or pointer
// arguments, and returns its integer result. The code follows the C ABI of the platform; it must not
// call Go, and needs nothing of Go or of a C library: see LoadObject.
//
// What the code is stopped for comes back as a *guard.Fault: overflow of the stack, a touch of a bad
// address or of a region's inaccessible memory, an illegal instruction, division by zero. The
// goroutine, its thread and the stack can go on being used; what the code was changing is in whatever
// state it was. The stack is taken for as long as the call lasts, and its memory below what is
// allocated is changed.
//
// Memory that the code is given should be off-heap. Memory of Go's must be pinned (runtime.Pinner):
// else it may be freed, or move with the goroutine's stack.
//
// A goroutine in native code is not preempted. Whatever stops the world (a garbage collection, say)
// waits for it, and so do all other goroutines then: keep calls short, some milliseconds at most.
//
// The guard catches an overflow if the code touches it. Compilers move the stack pointer over large
// frames at once: use -fstack-clash-protection where frames may be larger than Config.Guard.
//
// The first Call of a process puts a handler before Go's for the signals of the processor (on arm64,
// for all signals). The error wraps errors.ErrUnsupported but for linux/amd64 and linux/arm64.
//
// Cost: some 5 ns; some microseconds where it is stopped.
func (s *Stack) Call(fn Func, args ...uintptr) (uintptr, error) {
	in := &noInts
	switch n := len(args); {
	case n == len(in):
		in = (*[6]uintptr)(args)
	case n > len(in):
		return 0, tooMany(n, len(in))
	case n > 0:
		var some [6]uintptr
		copy(some[:], args)
		in = &some
	}
	if s.state != used || s.block != 0 || !trap.Ready() {
		if err := s.admit("Call"); err != nil {
			return 0, err
		}
	}
	s.limit, s.native = s.top, true // what is below may be dirty from here on
	out, stop := trap.Call(&s.block, uintptr(fn), s.pointer(), in)
	if stop.Signal != 0 {
		return 0, s.fault(stop)
	}
	return out, nil
}

// CallF is Call with up to eight float64 arguments and a float64 result.
func (s *Stack) CallF(fn Func, args ...float64) (float64, error) {
	var in [8]float64
	if len(args) > len(in) {
		return 0, tooMany(len(args), len(in))
	}
	copy(in[:], args)
	if s.state != used || s.block != 0 || !trap.Ready() {
		if err := s.admit("CallF"); err != nil {
			return 0, err
		}
	}
	s.limit, s.native = s.top, true
	out, stop := trap.CallF(&s.block, uintptr(fn), s.pointer(), &in)
	if stop.Signal != 0 {
		return 0, s.fault(stop)
	}
	return out, nil
}

// noInts are the arguments where there are none.
var noInts [6]uintptr

func tooMany(n, most int) error {
	return fmt.Errorf("stack: call: %d arguments are more than %d", n, most)
}

// admit says why native code may not run, or makes it possible.
func (s *Stack) admit(op string) error {
	s.usable(op)
	if s.block != 0 {
		panic(s.violation(op, "native code runs on the stack"))
	}
	return trap.Install()
}

// pointer is where native code begins: below top, aligned as C wants it.
func (s *Stack) pointer() uintptr { return (uintptr(unsafe.Pointer(s)) + s.top - redZone) &^ 15 }

// The signals that native code is stopped by, on Linux.
const (
	sigILL  = 4
	sigTRAP = 5
	sigFPE  = 8
)

// fault says what native code was stopped for.
func (s *Stack) fault(a trap.Stop) error {
	f := guard.Locate(a.Addr)
	switch {
	case a.Signal == sigILL || a.Signal == sigTRAP || a.Signal == sigFPE:
		f = &guard.Fault{Addr: a.Addr, Kind: guard.IllegalInstruction}
		if a.Signal == sigFPE {
			f.Kind = guard.Arithmetic
		}
	case f == nil:
		f = &guard.Fault{Addr: a.Addr, Kind: guard.BadAddress}
	case s.guards(a.Addr):
		f.Kind = guard.StackOverflow
		s.deepest = uint32(s.shapeOf().size)
	}
	f.PC = a.PC
	return f
}

// guards tells whether an address lies in the guard below the stack.
func (s *Stack) guards(addr uintptr) bool {
	sh := s.shapeOf()
	floor := uintptr(unsafe.Pointer(s)) + sh.end(s) - sh.size
	return addr < floor && addr >= floor-(sh.stride-sh.size)
}
