// Package offheap is the overview of a library for memory outside the Go heap. The garbage collector
// never scans that memory, never moves it and never waits for it. The package has no code: import the
// packages below it.
//
// # Which structure for which job
//
//	the job                                              use
//	──────────────────────────────────────────────────   ──────────────────────────────────────
//	objects that die together: a request, a parse, a     arena.Arena: New, MakeSlice, String;
//	column, an index that is built once                  Reset frees all of them
//	the same, from many goroutines at once               arena.Concurrent
//	an arena for each request, used again                arena.Pool
//	a large hash table that the collector must not scan  table.Map, table.Strings
//	the same, for many goroutines at once                table.Concurrent
//	a cache with a limit, or a concurrent map of bytes   cache.Cache: Set, Get, Delete
//	a table that evicts, or expires entries              Sample and Scan of all three
//	many searches at once in a large table               Map.GetBatch
//	objects of any size, freed one by one                slab.Heap: Alloc, Free; Reset frees all of them
//	the same on one goroutine, in a hot loop             slab.Local
//	a name for such an object, to be kept in a table     slab.Ref: Heap.Ref and Heap.Bytes
//	objects of one type, named by handles                slab.Pool
//	values that live as long as a function call          stack.Pool, Stack.Push and Pop
//	native code without cgo                              native.LoadObject, native.Call
//	memory that another allocator, a wasm host or a      guard.Reserve: a region with guards, Commit,
//	parser manages itself                                Protect, MapFile
//	a bound on all of it                                 guard.SetBudget
//	a fuzz test that fails at the byte read too far      guardtest.Fence
//	a test that fails if something is left open          guardtest.CheckLeaks
//	use after free in production, now and then           slab.SetSampling
//
// # Words
//
// Each word has this meaning in all packages, and no other.
//
//	OS page                  what the kernel gives memory in: 4 KiB on amd64
//	region                   one reservation of addresses, between two guards
//	reserve                  claim addresses; no memory stands behind them
//	commit                   make reserved memory usable, and charge the budget
//	decommit                 give committed memory back, and keep the addresses
//	release                  give the addresses back
//	discard                  give committed memory back in place: it stays committed, and reads zero
//	purge                    give back all that is free now
//	reserved, committed,     figures of every Stats: addresses; what the budget is charged;
//	live                     what is handed out
//	resident                 what is in RAM: a call of its own, because it asks the kernel
//	guard                    inaccessible memory beside data: a touch faults
//	canary                   bytes behind an object that are compared when it is freed
//	poison                   bytes that freed memory is filled with, compared when it is used again
//	quarantine               closed addresses, or freed slots, that are withheld from use for a while
//	handle, reference        a name of an object without a pointer, which may be stored off-heap
//	slab, slot, size class   a run of equal slots; the place of an object; sizes that share one slot size
//	magazine, depot          the free slots that a processor or a Local keeps; the shared store behind it
//	pin                      keep a goroutine on its processor for some instructions
//	mark, rewind             a place in an arena; back to it
//	frame                    what a stack pushes and pops
//
// # Guarantees
//
//  1. A type that contains Go pointers is refused when memory for it is asked for, and the field is
//     named: the collector would not see such pointers.
//  2. Memory reads zero when it is handed out, unless the call says Dirty.
//  3. Addresses never move. Those of something closed stay reserved for a while, so that a stale
//     pointer faults and reads nothing else.
//  4. Out of memory is an error that wraps guard.ErrNoMemory: the Try forms return it, the others panic
//     with it. Misuse panics with a *guard.Violation. A touch of inaccessible memory inside guard.Catch
//     comes back as a *guard.Fault. Outside it ends the program; guard.ReportFaults makes it say of what.
//  5. Close frees. Nothing depends on finalizers; what is lost without Close is reported.
//
// # What else to know
//
// The package comment of each package has a picture of its memory, its life cycle, its concurrency
// promises and its costs. That of guard lists the limits of the system, and what Go does not know about
// off-heap memory.
//
// The collector runs more often when little is left on its heap. GOGC=400 to 800 suits a program whose data
// has moved. So does GOGC=off with GOMEMLIMIT and guard.Budget.ShareGoLimit: then off-heap memory counts
// towards the limit.
package offheap
