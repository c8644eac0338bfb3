package native

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
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
func Call(s *stack.Stack, fn Func, args ...uintptr) (uintptr, error) {
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
	h := headerOf(s)
	if h.State != header.StateUsed || h.Block != 0 || !trap.Ready() {
		if err := admit(h, "native.Call"); err != nil {
			return 0, err
		}
	}
	h.Limit, h.Native = h.Top, true // what is below may be dirty from here on
	out, stop := trap.Call(&h.Block, uintptr(fn), pointer(h), in)
	if stop.Signal != 0 {
		return 0, fault(h, stop)
	}
	return out, nil
}

// CallF is Call with up to eight float64 arguments and a float64 result.
func CallF(s *stack.Stack, fn Func, args ...float64) (float64, error) {
	var in [8]float64
	if len(args) > len(in) {
		return 0, tooMany(len(args), len(in))
	}
	copy(in[:], args)
	h := headerOf(s)
	if h.State != header.StateUsed || h.Block != 0 || !trap.Ready() {
		if err := admit(h, "native.CallF"); err != nil {
			return 0, err
		}
	}
	h.Limit, h.Native = h.Top, true
	out, stop := trap.CallF(&h.Block, uintptr(fn), pointer(h), &in)
	if stop.Signal != 0 {
		return 0, fault(h, stop)
	}
	return out, nil
}

// noInts are the arguments where there are none.
var noInts [6]uintptr

func tooMany(n, most int) error {
	return fmt.Errorf("native: call: %d arguments are more than %d", n, most)
}

// headerOf returns the header of a stack, which is at the same address.
func headerOf(s *stack.Stack) *header.Header { return (*header.Header)(unsafe.Pointer(s)) }

// admit says why native code may not run, or makes it possible.
func admit(h *header.Header, op string) error {
	h.CheckUsable(op)
	if h.Block != 0 {
		panic(h.Violation(op, "native code runs on the stack"))
	}
	return explainRefusal(trap.Install(), refusedSignal)
}

// pointer is where native code begins: below top, aligned as C wants it.
func pointer(h *header.Header) uintptr { return (h.Addr(h.Top) - redZone) &^ 15 }

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
func fault(h *header.Header, stop trap.Stop) error {
	f := &guard.Fault{Addr: stop.Addr, PC: stop.PC}
	switch {
	case stop.Signal == sigILL || stop.Signal == sigTRAP:
		f.Kind, f.Addr = IllegalInstruction, stop.PC
	case stop.Signal == sigFPE:
		f.Kind, f.Addr = Arithmetic, stop.PC
	case stop.Signal == sigSEGV && stop.Code == siKernel || stop.Signal == sigBUS && stop.Code == busAdrAln:
		f.Kind, f.Addr = Refused, 0
	default:
		f = guard.Locate(stop.Addr)
		if f == nil {
			f = &guard.Fault{Addr: stop.Addr, Kind: BadAddress}
		} else if header.Overflowed(h, stop.Addr) {
			f.Kind = StackOverflow
		}
		f.PC = stop.PC
	}
	return f
}
