// Package trap has the one signal handler that goes before Go's. It runs native code on stacks that are not Go's, and
// turns a fault there into a return. Before a fault of Go code ends the program, it writes a report of the memory that
// was touched. In cells that it was told of, it also notes the address of every fault.
//
// # A call of native code
//
//		      Go's stack                           ours
//		┌──────────────────────┐         ┌──────────────────────────┐
//		│ caller               │         │ native code runs here,   │
//		│ Call: saved BP       │◀─ Block │ from sp downwards        │
//		└──────────────────────┘         ├──────────────────────────┤
//		                                 │ guard                    │
//		                                 └──────────────────────────┘
//
//	 1. Call saves Go's stack pointer in the stack's Block, loads the arguments, sets the stack pointer to
//	    ours, and calls. A Block that is not zero means that native code runs on that stack.
//	 2. When the code returns, Call goes back to Go's stack, clears the Block, and returns.
//	 3. When the processor stops the code (a bad address, an instruction that it refuses), the kernel runs
//	    handler on the thread's signal stack. It finds the Block, and sends the thread to landing with Go's
//	    stack pointer. landing returns from Call as well, with the reason (Stop).
//
// # Every other signal
//
//  4. A signal that is not for native code on a stack of ours goes to the handler that was installed before,
//     Go's, with its arguments and the stack as they were.
//  5. If it is for a fault of Go code in a watched cell (WatchCells), the address is noted in the Cell first.
//  6. Unless the goroutine panics on faults (debug.SetPanicOnFault), the Cell's Report is written to standard
//     error first. For a fault in no Cell, or in one without a Report, the Finder is asked for it (FindReports).
//     A touch of a nil pointer is left to Go at once.
//
// # Finding the Block
//
// Areas say where stacks and their Blocks lie. The interrupted stack pointer tells the stack. On amd64, where the
// thread's goroutine is known whatever the code did to registers (thread-local storage), the Block must also point
// into the Go stack of this goroutine. If it does not, because the code moved the stack pointer by more than a
// guard at once, all Blocks are searched. On arm64 Go keeps the goroutine in a register that native code may
// use (R28). So there the handler goes before Go's for every signal, and gives that register back to Go's handler.
//
// # Promises
//
//  1. Handlers use no lock but Latches, no stack but the signal stack, and no Go code except nosplit functions. They
//     read Areas and rows of Cells, which are never freed, and Blocks, which stay as long as their Area is not
//     hidden: Hide waits for handlers that are looking. What a Finder reads stays as long as it has the Latch.
//  2. Signals sent by processes (kill, tgkill) are never taken for faults.
//  3. A goroutine in native code is not preempted: stopping the world waits for it.
//
// # Files
//
//	trap.go          Area, Block, Install
//	touch.go         CellRow, Cell, Report, Finder
//	latch.go         Latch: a lock that handlers can take; latch_linux.go: their side of it
//	trap_linux.go    Call, and the installation; trap_linux_ARCH.s: Call, handler, landing
//	touch_linux.go   noting faults and writing reports, on the signal stack
//	signals_ARCH.go  which signals have the handler
package trap

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Block is Go's stack pointer while native code runs on a stack; else 0.
type Block uintptr

// Stop tells why native code did not return: the signal, what the kernel says about it (si_code), the address touched and
// the instruction. Signal is 0 if the code returned.
type Stop struct{ Signal, Code, Addr, PC uintptr }

// Area is a row of stacks: cells of equal size, each with a Block elsewhere. The handler reads its fields.
type Area struct {
	lo     uintptr
	size   uintptr // of the cells together; addresses beyond have no Blocks yet
	stride uintptr // of a cell
	blocks uintptr // address of the first Block
	step   uintptr // from one Block to the next
	next   *Area   // never changes
}

var (
	areas   *Area  // the list, which only grows
	looking uint64 // handlers that read the list, or Blocks, now
	mu      sync.Mutex
	idle    []*Area
)

// Watch makes a row of stacks known to the handler. It has no cells yet: see Grow.
func Watch(lo, stride, blocks, step uintptr) *Area {
	mu.Lock()
	defer mu.Unlock()
	if n := len(idle); n > 0 {
		a := idle[n-1]
		idle = idle[:n-1]
		a.lo, a.stride, a.blocks, a.step = lo, stride, blocks, step
		return a
	}
	a := &Area{lo: lo, stride: stride, blocks: blocks, step: step, next: areas}
	publish(a)
	return a
}

// Grow sets how many bytes of cells there are. Their Blocks must be readable.
func (a *Area) Grow(size uintptr) { atomic.StoreUintptr(&a.size, size) }

// Hide makes the Blocks unknown to the handler, so that they may be taken away. No native code may run on the stacks any
// more. Grow undoes it.
func (a *Area) Hide() {
	a.Grow(0)
	for atomic.LoadUint64(&looking) != 0 {
		runtime.Gosched()
	}
}

// Forget ends the watch of a hidden Area.
func (a *Area) Forget() {
	mu.Lock()
	idle = append(idle, a)
	mu.Unlock()
}

var (
	installed  atomic.Bool
	installing sync.Mutex
)

// Ready tells whether the handler is installed. It costs one load.
func Ready() bool { return installed.Load() }

// Install installs the handler, once for the process. The error wraps errors.ErrUnsupported where native code cannot
// run.
func Install() error {
	installing.Lock()
	defer installing.Unlock()
	if installed.Load() {
		return nil
	}
	if err := install(); err != nil {
		return err
	}
	installed.Store(true)
	return nil
}
