// Package fastpath guards the machine code of the fast paths: its test builds a program that calls
// each of them once (testdata/callers), for amd64 and arm64, disassembles it, and compares it with
// testdata/table. The package has no code besides the test.
//
// # The table
//
// A row of testdata/table is one exported function:
//
//		package function        inlined amd64 arm64 calls
//		arena   New             yes        15    16 indirect
//		slab    Heap.AllocDirty no         92    90 +slab.(*Heap).AllocDirty =runtime.procPin slab.(*Heap).get …
//
//	  - inlined: whether the compiler inlines the function into its caller.
//	  - amd64, arm64: the most instructions that the fast path may have.
//	  - calls: the functions that may be called. "+f" is part of the fast path: its instructions are
//	    counted, and its own calls are checked. "=f" is called on the fast path, which goes on behind it,
//	    and is not counted. A name alone is a slow path, which ends the fast one. "indirect" stands for
//	    any call through a func value.
//	  - A # begins a comment.
//
// A bounds check that the compiler could not prove away is a call of runtime.panicBounds, which the
// test refuses unless the row names it. It finds what -gcflags=-d=ssa/check_bce finds, and also bounds
// checks in code that was inlined from another package.
//
// # What is counted
//
// The figure is the sum over the function of testdata/callers, into which the fast path may be inlined,
// and each "+f". Of these it counts the instructions that lie on some way from the function's start to
// a return without a call of a slow path. So it does not depend on how much code the slow paths take,
// nor on how they are entered:
//
//   - Every branch of the fast path is counted: the figure is the length of its code, not of one run.
//   - What leads to a slow path alone is not counted: arguments of the call, panics, the block that
//     grows the goroutine's stack. The comparisons that lead there are.
//   - NOPs and padding are not counted.
//
// The figures depend on the compiler: the first line of the table names the Go version that made them,
// and the test is skipped with any other. It is skipped, too, where it runs itself with -race, coverage
// counters or -gcflags; the programs that it reads have none of these.
//
// # To change the table
//
// go test ./internal/fastpath -v -figures prints the rows as they are now. A figure may be lowered at
// any time. A figure that grows, or a new call, needs its reason and a timing in the commit message.
// For a new version of Go, make all figures anew from a commit that passed with the old one.
package fastpath
