// Package stack keeps stacks outside the Go heap, up to millions of them, each with a guard below:
// for frames of Go values that are freed in the opposite order, and for native code to run on.
//
// # Memory
//
//	Base                                                                               Base+Size
//	├──┬──┬──┬─ ─ ─ ─┬───────┬───────────────┬───────┬───────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─┤
//	│S0│S1│S2│       │ guard │    stack 0    │ guard │    stack 1    │ never used      │
//	└──┴──┴──┴─ ─ ─ ─┴───────┴───────────────┴───────┴───────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─┘
//	 a Stack each,           ◀──── Size ─────▶                          a touch faults
//	 64 bytes                floor  limit top end
//
// A stack is filled from its end downwards, as machine stacks are. What is known of it, its Stack,
// lies apart, where no overrun reaches it. All stacks are one mapping, however many there are,
// where guards are markers (guard.LightGuards). Elsewhere each guard splits the mapping, and a
// process can have some 16,000 stacks (half of vm.max_map_count, two each).
//
// # Life
//
//  1. OpenPool reserves addresses for Config.Max stacks. They cost nothing.
//  2. Get hands out an idle stack, or one that was never used: it gets its guard first, then memory,
//     which comes into RAM as it is touched. The guard stays until the pool is closed.
//  3. Push opens a frame; New, MakeSlice and Alloc hand out zeroed memory; Pop frees what was
//     allocated since. Call runs native code below all that.
//  4. Put takes the stack back with all that is on it. Few are kept as they are; the others keep
//     Config.Retain bytes in RAM. Purge gives all back.
//  5. Close ends the pool; its region is closed when the last stack in use is put. Keep the Pool for as
//     long as its stacks are used, and a Code or an Object for as long as its functions are: one that
//     is lost without Close is reported, and stays.
//
// # Types
//
// The garbage collector does not look into a stack, so what is stored there must not contain Go
// pointers: asking for a type that contains a string, slice, map, interface, channel, function or
// pointer panics and names the field.
//
// # Native code
//
// LoadCode and LoadObject bring code into memory, Call runs it: C, Rust or assembly without cgo, at
// the price of a function call. What it is stopped for becomes an error, and the program goes on.
//
// # Concurrency
//
//  1. A Pool is for any number of goroutines.
//  2. A Stack is for one goroutine at a time, which may hand it to another. Two that push and pop
//     on one stack at the same time destroy each other's frames; that is not always noticed, and not
//     by the race detector, which knows of the Go heap only.
//  3. A goroutine in native code is not preempted; whatever stops the world waits for it.
//
// # Errors and panics
//
// The Try forms return an error that wraps ErrOverflow where a stack has no room, the others panic
// with it, and nothing has been written. Misuse (a frame out of order, a stack that was put already,
// one of another pool) panics with a *guard.Violation. What overruns the memory of a stack downwards
// touches its guard and upwards the guard of the next: a fault, which guard.Catch turns into an
// error.
//
// # Cost (Linux 6.18, x86-64)
//
// Get and Put take 13 ns together, New of a small type less than 1 ns, Push and Pop 2 ns, Call 5
// ns, a stack that was never used a 16th of some system calls and what the kernel takes to bring
// its first OS page into RAM. Each stack that was ever used takes 64 bytes and its page tables
// besides what it has in RAM; a pool takes 8 KiB of the Go heap, and 320 bytes for each processor.
// The budget is charged for whole stacks, because they can be used whole, and for their guards.
//
// # What it does not do
//
// Stacks do not grow. Go code does not run on them. A frame's memory is handed out again after Pop,
// and a pointer that outlived it is not told.
//
// A Stack that the program drops without Put stays in use, with all its memory: it lies outside the Go
// heap, where the collector does not see that nobody has it any more. So put it with defer. Three
// things show what was dropped: Stats.InUse grows, and stays above 0 after Close; guardtest.CheckLeaks
// fails a test that leaves more stacks in use than there were; and a pool that was closed while stacks
// were dropped never closes its region, which guard.SetOnLeak reports when the Pool is unreachable.
package stack
