package stack

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
)

// redZone is what native code leaves alone above its first frame. So its stack pointer, which tells
// the stack, is never where the next one begins.
const redZone = 64

// Call runs native code on the stack, below what is allocated there, with up to six integer or
// pointer arguments, and returns its integer result. The code follows the C ABI of the platform; it
// must not call Go, and needs nothing of Go or of a C library: see LoadObject.
//
// What the code is stopped for comes back as a *guard.Fault: overflow of the stack, a touch of a
// bad address or of a region's inaccessible memory, an illegal instruction, division by zero. The
// goroutine, its thread and the stack can go on being used; what the code was changing is in
// whatever state it was. The stack is taken for as long as the call lasts, and its memory below
// what is allocated is changed.
//
// Memory that the code is given should be off-heap. Memory of Go's must be pinned (runtime.Pinner):
// else it may be freed, or move with the goroutine's stack.
//
// A goroutine in native code is not preempted. It keeps its processor from all others, and whatever
// stops the world (a garbage collection, say) waits for it: keep calls short, some milliseconds at
// most. A profile shows the time as runtime._ExternalCode, without the caller. A signal that makes
// Go dump its goroutines (SIGQUIT) ends the program all the same if it comes to the thread
// meanwhile, but without the dump.
//
// The guard catches an overflow if the code touches it. Compilers move the stack pointer over large
// frames at once: use -fstack-clash-protection where frames may be larger than Config.Guard. A
// touch of what lies below the guard is another stack's memory or, where there is none yet, a Fault
// of another kind than StackOverflow. To find whose it is then takes nanoseconds for each stack
// that there is.
//
// What the C ABI forbids is not caught: code that returns with its caller's registers changed, that
// moves its stack pointer into Go's stack, or that goes on with the direction or alignment-check
// flag set.
//
// The first Call of a process puts a handler before Go's for the signals of the processor (on arm64,
// for all signals). The error wraps errors.ErrUnsupported but for linux/amd64 and linux/arm64,
// and the kernel's error where a sandbox (seccomp) refuses.
//
// Cost: some 5 ns; where it is stopped what the kernel takes for a signal, 4 to 15 µs.
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
	return explainRefusal(trap.Install(), refusedSignal)
}

// pointer is where native code begins: below top, aligned as C wants it.
func (s *Stack) pointer() uintptr { return (uintptr(unsafe.Pointer(s)) + s.top - redZone) &^ 15 }

// The signals that native code is stopped by, and what tells that there is no address, on Linux.
const (
	sigILL  = 4
	sigTRAP = 5
	sigBUS  = 7
	sigFPE  = 8
	sigSEGV = 11

	siKernel  = 0x80 // of SIGSEGV
	busAdrAln = 1    // of SIGBUS
)

// fault says what native code was stopped for.
func (s *Stack) fault(stop trap.Stop) error {
	f := &guard.Fault{Addr: stop.Addr, PC: stop.PC}
	switch {
	case stop.Signal == sigILL || stop.Signal == sigTRAP:
		f.Kind, f.Addr = guard.IllegalInstruction, stop.PC
	case stop.Signal == sigFPE:
		f.Kind, f.Addr = guard.Arithmetic, stop.PC
	case stop.Signal == sigSEGV && stop.Code == siKernel || stop.Signal == sigBUS && stop.Code == busAdrAln:
		f.Kind, f.Addr = guard.Refused, 0
	default:
		f = guard.Locate(stop.Addr)
		if f == nil {
			f = &guard.Fault{Addr: stop.Addr, Kind: guard.BadAddress}
		} else if s.guards(stop.Addr) {
			f.Kind = guard.StackOverflow
			s.deepest = uint32(s.shapeOf().size)
		}
		f.PC = stop.PC
	}
	return f
}

// guards tells whether an address lies in the guard below the stack.
func (s *Stack) guards(addr uintptr) bool {
	sh := s.shapeOf()
	floor := uintptr(unsafe.Pointer(s)) + sh.end(s) - sh.size
	return addr < floor && addr >= floor-(sh.stride-sh.size)
}
