// Package native runs machine code on the stacks of package stack: C, Rust or assembly without cgo, at the
// price of a function call. A fault of the code is an error, and the program goes on.
//
// # A call
//
// Call keeps the stack pointer of the goroutine in the Stack, switches to the stack's memory, and calls.
// Go code never runs there:
//
//	  Go's stack                     a stack of a pool
//	┌─────────────┐               ┌───────────────────────┐ end
//	│ caller      │               │ frames: values of the │
//	│ native.Call │── arguments ─▶│ caller (stack.New …)  │
//	└─────────────┘               ├───────────────────────┤ top
//	       ▲                      │ 64 bytes, untouched   │
//	       │                      ├───────────────────────┤
//	       ├───── result ─────────│ native code           │
//	       │                      │           ↓           │
//	       │                      ├───────────────────────┤ floor
//	       └───── *guard.Fault ───│ guard                 │
//	                              └───────────────────────┘
//
// When the processor stops the code (a bad address, the guard, an illegal instruction), the kernel runs a
// signal handler of this module, which stands before Go's. It finds the Stack by the stack pointer, gives
// the goroutine its own stack back, and lets Call return the fault. Package internal/trap has the details.
//
// # Life
//
//  1. LoadCode copies machine code into a region and makes it executable. LoadObject maps a shared object
//     (ELF) and relocates it.
//  2. Func of a Code or an Object returns the address of a function.
//  3. Call and CallF run the function on a stack that Pool.Get has handed out.
//  4. Close of the Code or the Object takes the code away. Keep the Code or Object reachable until then:
//     one that is lost without Close is reported (guard.SetOnLeak), and its memory stays.
//
// # Memory of code
//
// No memory is ever writable and executable at once. LoadCode makes its region read-only and executable
// after the copy. LoadObject maps the segments with the protections that the file asks for:
//
//	├── text: r-x ──┬── constants: r-- ──┬── relocated: r-- ──┬── data: rw- ──┬── zeroed: rw- ──┤
//	└ from the file, shared with other processes ┘             └ copied when written to ┘
//
// # Concurrency
//
//  1. LoadCode, LoadObject and all methods may be called by any number of goroutines at the same time.
//  2. Call may run one function on many stacks at the same time, and one function at a time on a stack.
//  3. A goroutine in native code is not preempted. It keeps its processor, and everything that stops the
//     world (a garbage collection, say) waits for it: keep calls short, some milliseconds at most.
//  4. Close of a Code or an Object must wait until none of its functions runs.
//
// # Cost (Linux 6.18, x86-64)
//
// A call takes 5 ns (cgo: 27 to 40). A call that faults takes what the kernel needs for a signal, 4 to 15 µs.
// LoadCode and LoadObject make some ten system calls each.
//
// # What it does not do
//
//   - It runs on Linux for amd64 and arm64 only. Elsewhere calls return an error that wraps
//     errors.ErrUnsupported.
//   - Native code cannot call Go, nor a C library: LoadObject links against nothing.
//   - It is no sandbox. Code can write to all memory of the process, and make system calls. Call notices
//     faults only.
//   - Code that violates the C calling convention is not noticed: see Call.
package native
