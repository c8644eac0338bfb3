// Package stack keeps stacks outside the Go heap, up to millions of them, each with a guard below it.
// A program allocates Go values on a stack in frames, and frees each frame at once; package
// stack/native runs native code on a stack.
//
// # Memory
//
// A Pool is one region. It begins with the Stacks, small records of 64 bytes each; the memory of the
// stacks follows, and a guard lies below each:
//
//	├──┬──┬──┬─ ─ ─ ─┬───────┬───────────────┬───────┬───────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─┤
//	│S0│S1│S2│       │ guard │    stack 0    │ guard │    stack 1    │ never used      │
//	└──┴──┴──┴─ ─ ─ ─┴───────┴───────────────┴───────┴───────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─┘
//	 a Stack each,           ◀──── Size ─────▶                          a touch faults
//	 64 bytes
//
// A stack grows downwards, from its end to its floor, as machine stacks do:
//
//	       floor            limit         top          end
//	┌───────┬────────────────┬─────────────┬────────────┬───────┐
//	│ guard │ unused, dirty  │ unused,     │ frames     │ guard │ of the next stack
//	│       │                │ zero        │            │       │
//	└───────┴────────────────┴─────────────┴────────────┴───────┘
//	                              allocation moves top ◀
//
// A guard lies between the memory of a stack and everything else, so a write beyond the end of an object does
// not reach a Stack. All stacks together are one mapping of the kernel, however many there are, where guards
// are markers (guard.LightGuards). Elsewhere each guard splits the mapping, and a process can have some 16,000
// stacks: two mappings each, out of half of vm.max_map_count.
//
// # Life
//
//  1. OpenPool reserves addresses for Config.Max stacks. They cost nothing.
//  2. Get hands out an idle stack, or else one that was never used. A stack gets its guard before its
//     memory, and keeps it until the pool is closed. Its memory comes into RAM when it is touched.
//  3. Push opens a frame. New, MakeSlice and Alloc hand out zeroed memory. Pop frees everything that was
//     allocated since its Push. native.Call runs native code below the frames.
//  4. Put frees everything on the stack, and gives the stack back to the pool. The last few stacks that were
//     put on each processor keep their RAM; the others keep Config.Retain bytes. Purge gives the RAM of all
//     idle stacks back.
//  5. Close ends the pool. Its region is closed when the last stack in use is put. Keep the Pool
//     reachable while its stacks are used: a Pool that is lost without Close is reported
//     (guard.SetOnLeak), and its memory stays.
//
// # Types
//
// The garbage collector does not look into a stack, so values stored there must not contain Go
// pointers: asking for a type that contains a string, slice, map, interface, channel, function or
// pointer panics and names the field.
//
// # Concurrency
//
//  1. A Pool may be used by any number of goroutines.
//  2. A Stack is for one goroutine at a time, which may hand it to another. Two goroutines that push
//     and pop on one stack at the same time destroy each other's frames. That is not always noticed,
//     and not by the race detector, which sees the Go heap only.
//  3. Get and Put on different processors share no lock: each processor has a cache of 8 idle stacks.
//     Purge and Close, and Get where memory has run out, stop the world for some microseconds to empty
//     these caches.
//  4. Get fails at Config.Max only if all stacks are in use: a stack whose Put has returned is found, wherever
//     it is. After a Get that found no memory for one more stack the next 32 Puts bypass the caches, and take a
//     lock.
//  5. Budget.OnSoft is called without a lock held, and may use the pool.
//
// # Errors and panics
//
// The Try forms return an error that wraps ErrOverflow where a stack has no room; the others panic
// with it. Nothing was written then. Misuse panics with a *guard.Violation: a frame popped out of
// order, a stack used after Put, a stack of another pool. A touch below the memory of a stack hits its
// guard, and a touch above hits the guard of the next stack; guard.Catch turns both into an error.
//
// # Cost (Linux 6.18, x86-64)
//
//   - Get and Put together: 13 ns. New of a small type: less than 1 ns. Push and Pop together: 2 ns.
//   - The first Get of a stack: a share of three system calls, and the kernel's time to bring the first
//     OS page into RAM.
//   - A stack that was ever used takes 64 bytes and its page tables besides its RAM.
//   - A Pool takes 8 KiB of the Go heap, and 320 bytes for each processor.
//   - The budget is charged for the whole stacks and their guards.
//
// # What it does not do
//
//   - Stacks do not grow, and Go code does not run on them.
//   - A use of memory after its Pop is not noticed: the next frame gets the same memory.
//   - A stack that the program drops without Put stays in use, with all its memory: it lies outside the
//     Go heap, where the collector does not see that it is unreachable. So put it with defer. A dropped
//     stack shows in Stats.InUse, which stays above 0 after Close, and in guardtest.CheckLeaks. The
//     region of a pool whose stacks were dropped is never closed; once the Pool is closed and
//     unreachable, guard.SetOnLeak reports it.
package stack
