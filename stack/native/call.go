package native

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// redZone is the distance in bytes from the top of the stack to the first frame of native code. So the stack
// pointer, by which the signal handler finds the stack, never equals the end of the stack, which is the
// start of the next one.
const redZone = 64

// Call runs the native function fn on the stack s, below the frames there, with up to six integer or pointer
// arguments, and returns its integer result. More arguments are an error. The function follows the C calling
// convention of the platform. It must not call Go or a C library.
//
// Pass a pointer as uintptr(unsafe.Pointer(p)). If the C type of the result is narrower than uintptr, the upper
// bits are undefined: for int convert the result to int32.
//
// s must be in use, and no native code may run on it; else Call panics with a *guard.Violation. Do not put s
// while the call lasts. The call overwrites unused memory of the stack; the frames stay as they are, unless the
// function is given their addresses.
//
// Memory that the function is given should be off-heap. Memory of the Go heap or of a Go stack must be
// pinned (runtime.Pinner): else the collector may free it, or the stack may move.
//
// # Faults
//
// If the function faults, Call returns a *guard.Fault, for errors.As: StackOverflow, BadAddress,
// IllegalInstruction, Arithmetic, Refused, or a kind of guard where the function touched inaccessible
// memory of a region. Goroutine, thread and stack can be used as before. Data that the function was
// changing stay as they are at that moment.
//
// An overflow is noticed when the function touches the guard. Compilers move the stack pointer over a
// large frame at once: use -fstack-clash-protection where frames may be larger than stack.Config.Guard.
// Memory below the guard belongs to another stack; where there is none yet, a touch is a Fault of another
// kind than StackOverflow. To find the goroutine after such a leap takes nanoseconds for each stack of the
// process.
//
// Call does not notice a function that returns with its caller's registers changed, that moves its stack
// pointer into a Go stack, or that returns with the direction or alignment-check flag set.
//
// # Preemption and signals
//
// A goroutine in native code is not preempted. It keeps its processor, and everything that stops the world
// (a garbage collection, say) waits for it: keep calls short, some milliseconds at most. A profile shows
// the time as runtime._ExternalCode, without the caller. SIGQUIT ends the program even if it comes to a
// thread in native code, but then without the dump of goroutines.
//
// The first Call of a process puts a handler before Go's for the signals of the processor; on arm64, for
// all signals that Go handles. Call returns the kernel's error, wrapped, where a sandbox (seccomp) refuses
// that, and an error that wraps errors.ErrUnsupported on all systems but Linux for amd64 and arm64.
//
// Cost: 5 ns. A fault takes 4 to 15 µs, which is the kernel's time for a signal.
func Call(s *stack.Stack, fn Func, args ...uintptr) (uintptr, error) {
	in := &noArgs
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
	h.Limit, h.Native = h.Top, true // the memory below may be dirty from now on
	out, stop := trap.Call(&h.Block, uintptr(fn), pointer(h), in)
	if stop.Signal != 0 {
		return 0, fault(h, stop)
	}
	return out, nil
}

// CallF is Call for a function with up to eight arguments of the C type double, and a result of that type. It
// cannot call a function that takes or returns float, or integers too.
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

// noArgs are the arguments of a call without arguments.
var noArgs [6]uintptr

func tooMany(n, most int) error {
	return fmt.Errorf("native: call: %d arguments are more than %d", n, most)
}

// headerOf returns the header of a stack. It lies at the same address.
func headerOf(s *stack.Stack) *header.Header { return (*header.Header)(unsafe.Pointer(s)) }

// admit prepares a stack and the process for a call. It panics if the stack may not run native code, and
// returns an error if the process cannot.
func admit(h *header.Header, op string) error {
	h.CheckUsable(op)
	if h.Block != 0 {
		panic(h.Violation(op, guard.InUse, "native code runs on the stack"))
	}
	return explainRefusal(trap.Install(), refusedSignal)
}

// pointer returns the stack pointer that native code begins with: below the top, and a multiple of 16.
func pointer(h *header.Header) uintptr { return (h.Addr(h.Top) - redZone) &^ 15 }

// The signals that faults of native code raise, and the codes of signals that come without an address, on Linux.
const (
	sigILL  = 4
	sigTRAP = 5
	sigBUS  = 7
	sigFPE  = 8
	sigSEGV = 11

	siKernel  = 0x80 // code of SIGSEGV: raised by the kernel, address unknown
	busAdrAln = 1    // code of SIGBUS: misaligned address
)

// fault returns the error for a fault of native code.
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
