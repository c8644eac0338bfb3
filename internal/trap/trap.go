// Package trap has the one handler of faults before Go's. It runs native code on stacks that are not
// Go's, and turns what the processor stops it for into a return; and it notes where Go code faults,
// and says what of, before the program ends as Go programs do.
//
// # How a call goes
//
//	      Go's stack                           ours
//	┌──────────────────────┐         ┌──────────────────────────┐
//	│ caller               │         │ native code runs here,   │
//	│ call: saved BP       │◀─ Block │ from sp downwards        │
//	└──────────────────────┘         ├──────────────────────────┤
//	                                 │ guard                    │
//	                                 └──────────────────────────┘
//
// In this order:
//
//  1. Call keeps Go's stack pointer in the stack's Block, loads the arguments, sets the stack
//     pointer to ours, and calls. A Block that is not zero means: native code runs on that stack.
//  2. When the code returns, Call goes back to Go's stack, clears the Block, and returns.
//  3. When the processor stops the code (a bad address, an instruction that it refuses), the kernel
//     runs handler on the thread's signal stack. It finds the Block, and sends the thread to
//     landing with Go's stack pointer: that returns from Call as well, and says why.
//  4. A signal that is not for native code on a stack of ours goes to the handler that was there
//     before, Go's, with its arguments and the stack as they were. If it is for a fault of Go code in
//     a CellRow, the address is noted in its Cell first, and unless the goroutine panics on faults
//     (debug.SetPanicOnFault), the Cell's Report is written to standard error.
//
// # How the Block is found
//
// Areas say where stacks lie and where their Blocks do. The interrupted stack pointer tells the
// stack; where a thread's goroutine is known whatever the code did to registers (amd64, thread-local
// storage), the Block must also point into the Go stack of this goroutine, and if it does not,
// because the code moved the stack pointer by more than a guard at once, all Blocks are searched.
// On arm64 Go keeps the goroutine in a register that native code may use (R28). So there the
// handler is put before Go's for every signal, and gives that register back to Go's handler.
//
// # Promises
//
//  1. Handlers use no lock, no stack but the signal stack, and no Go code but what is nosplit. They
//     touch Areas and CellRows, which are never freed, and Blocks, which are there for as long as their
//     Area is not hidden: Hide waits for handlers that are looking.
//  2. Signals sent by processes (kill, tgkill) are never taken for faults.
//  3. A goroutine in native code is not preempted: stopping the world waits for it.
package trap

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Block is Go's stack pointer while native code runs on a stack; else 0.
type Block uintptr

// Stop is why native code did not return: the signal that it was stopped by, what the kernel says of
// that (si_code), the address touched and the instruction. Signal is 0 if it did return.
type Stop struct{ Signal, Code, Addr, PC uintptr }

// Area is a row of stacks: cells of equal size, each with a Block elsewhere. Its fields are read by
// the handler.
type Area struct {
	lo     uintptr
	size   uintptr // of the cells together; what lies beyond has no Blocks yet
	stride uintptr // of a cell
	blocks uintptr // where the first is
	step   uintptr // from one to the next
	next   *Area   // never changes
}

var (
	areas   *Area  // the list, which only grows
	looking uint64 // handlers that are at the list, or at Blocks, now
	mu      sync.Mutex
	idle    []*Area
)

// Watch makes a row of stacks known. There are no cells yet: see Grow.
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

// Grow says how many bytes of cells there are, whose Blocks can be read.
func (a *Area) Grow(size uintptr) { atomic.StoreUintptr(&a.size, size) }

// Hide makes the Blocks unknown, which may be taken away then. No native code may run on the stacks
// any more. Grow undoes it.
func (a *Area) Hide() {
	a.Grow(0)
	for atomic.LoadUint64(&looking) != 0 {
		runtime.Gosched()
	}
}

// Forget ends the watch of an Area that is hidden.
func (a *Area) Forget() {
	mu.Lock()
	idle = append(idle, a)
	mu.Unlock()
}

var (
	installed  atomic.Bool
	installing sync.Mutex
)

// Ready tells whether Install was done. It costs one load.
func Ready() bool { return installed.Load() }

// Install puts the handler in place, unless it is. The error wraps errors.ErrUnsupported where
// native code cannot be run.
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
