// Package guardtest makes tests fail that read or write outside of their memory, or leave something open.
//
//   - Fence and its variants put the input of a test between guards. Code that reads or writes too far,
//     in Go or in assembly, fails the test at that instruction.
//   - CheckLeaks fails a test that leaves regions, arenas, heaps, pools or stacks open, or more in use than
//     before.
//
// # A fence
//
//	 Fence, FenceReadOnly                 FenceStart
//	┌ ─ ─ ─┬────────┬──────┬ ─ ─ ─┐      ┌ ─ ─ ─┬──────┬────────┬ ─ ─ ─┐
//	  guard │ canary │ data │ guard        guard │ data │ canary │ guard
//	└ ─ ─ ─┴────────┴──────┴ ─ ─ ─┘      └ ─ ─ ─┴──────┴────────┴ ─ ─ ─┘
//
// A guard is inaccessible. A canary is a fixed pattern on the rest of the OS pages; it is compared when the
// test ends.
//
//	touch                              Fence                    FenceStart
//	read behind the last byte          fails at once            not noticed
//	write behind the last byte         fails at once            fails at the end
//	read before the first byte         not noticed              fails at once
//	write before the first byte        fails at the end         fails at once
//	write to the data                  fine (FenceReadOnly: fails at once)
//	touch after the test               ends the program         ends the program
//
// # Life of a fence
//
//  1. Fence copies the data between guards and makes the goroutine panic on faults
//     (debug.SetPanicOnFault) until the test ends. It must be the goroutine that the test runs on, as for
//     FailNow.
//  2. A fault ends the test's function, its deferred calls run, and the test fails with the offset, the
//     length, the line of the instruction and the stack of its callers. The next tests run. If the code under
//     test recovers from the fault, the test fails all the same.
//  3. When the test ends (t.Cleanup), the canary is compared and the memory becomes inaccessible.
//  4. The memory is used again oldest first, when 64 other small fences, or two large ones, have ended
//     since. So a touch after the test never reaches a later fence.
//
// The first 1024 fences of a process, and all of more than 16 OS pages, become inaccessible when their test
// ends. Later ones become so in groups of up to 16, when all tests of the group have ended: until then a late
// touch is not noticed.
//
// On another goroutine, that of a subtest too, a fault ends the program, after a line that says which byte was
// touched; so does a late touch. For that line, and for the report of a fault, a handler of SIGSEGV and SIGBUS
// goes before Go's when the first fence is made (Linux on amd64 and arm64), as by guard.ReportFaults. Elsewhere a
// fault ends the program as any does in Go.
//
// # Concurrency
//
// Any number of goroutines may make fences, each for its own test. CheckLeaks looks at the whole process, so it is
// not for parallel tests.
//
// # Cost
//
// A fence of up to 4 KiB takes about 1.5 µs, and the time of t.Cleanup, so a fuzzer keeps its speed. One of
// more than 16 OS pages takes some system calls. Memory of smaller fences stays committed, and is charged to the
// budget with the guards of up to 16 fences: 1 MiB. At a time there can be as many fences as a quarter of
// vm.max_map_count (16382 by default).
//
// # What it does not do
//
// It does not notice reads of a canary, nor touches that leap over 64 KiB of guards.
package guardtest
