// Package arena allocates objects that are freed together: an allocation moves one pointer, and Reset
// frees everything at once. The memory is outside the Go heap: the garbage collector never scans it.
//
//	Arena       for one goroutine
//	Pool        keeps arenas for reuse: one for each request, say
//	Concurrent  one arena for many goroutines
//	Writer      an io.Writer that gathers bytes in an Arena
//	Ref[T]      a reference without a pointer, to link objects in an arena
//	OpenIn      opens an Arena in shared memory or in a mapped file
//
// # Memory
//
//	base                top      limit            dirty    committed       Reserve
//	 ├────┬──────────────┼─────────┼────────────────┼─────────┼──────────────┤
//	 │none│ handed out   │ zeroed, │ used before,   │ never   │ reserved:    │
//	 │    │              │ ready   │ to be cleared  │ used: 0 │ a touch faults
//	 └────┴──────────────┴─────────┴────────────────┴─────────┴──────────────┘
//	  64 B: offset 0 is the nil Ref
//
// An arena is one reservation of addresses, so there is no list of chunks. An allocation is one addition
// and one comparison with limit, which means "committed, and zero up to here". The slow path behind that
// comparison commits memory in steps that grow with the arena, and clears memory ahead in steps that stay
// in the processor's cache.
//
// # Life
//
//  1. Open reserves addresses: 64 GiB by default, less under RLIMIT_AS. They cost nothing.
//  2. New, MakeSlice, Alloc and the others allocate memory that is aligned to 8 bytes. It reads as zero, but
//     for the copies that String, Clone and Append make. It is valid until Reset, Rewind to an earlier Mark, or
//     Close. An object of no bytes takes no memory, but its pointer or slice is not nil.
//  3. Mark remembers a place. Rewind frees everything that was allocated since.
//  4. Reset frees everything. It keeps memory for the next round: up to twice the bytes that recent rounds
//     used, or Config.Retain if that is more. The memory of a spike goes back to the system over some rounds.
//     OnReset registers functions that are called before memory is freed.
//  5. Purge gives back to the system all memory that is not handed out.
//  6. Close gives everything back. Pointers into a closed arena fault as long as its addresses are in
//     quarantine (guard.SetQuarantine).
//
// # Memory of the program's own
//
// OpenIn opens an arena in a region that the program has: memory that processes share (package shm), or a mapped
// file. Refs, and tables by table.Attach, are valid for everybody who opens an arena there, at whatever address.
// Publish shows the others what was allocated, and names the object from which they find the rest; Published
// returns that object. One process allocates at a time.
//
// # Types
//
// The garbage collector does not look into an arena, so no Go pointer may be stored there. Functions that
// allocate a T panic if T contains a string, slice, map, interface, channel, function or pointer. The panic's
// error names the field. Link objects with Ref.
//
// # Concurrency
//
//  1. An Arena is for one goroutine at a time, and so is a Writer.
//  2. The methods of a Pool may be called by any number of goroutines at once.
//  3. Any number of goroutines may use a Concurrent at once, except during its Reset.
//  4. The program synchronises access to the objects itself.
//  5. In builds with -race the detector reports two goroutines that use one Arena, and a Reset of a
//     Concurrent beside allocations. It does not report races on the objects, because it knows only of the
//     Go heap.
//
// # Errors and panics
//
// Each function that allocates has two forms. New and the others panic with an error that wraps
// guard.ErrNoMemory if there is no memory: Config.Limit or Config.Reserve is reached, or the process's budget,
// or the kernel refuses. TryNew and the other Try forms return that error, and so does a Writer.
//
// The two forms treat impossible arguments in the same way: a negative size and an alignment that is not
// allowed are other errors, a size that is too large wraps guard.ErrNoMemory.
//
// Misuse panics with a *guard.Violation: use after Close, a zero Arena, a stale Mark, a Ref outside the memory
// that is handed out.
//
// # Cost
//
// New of a small type is inlined and takes about as long as the store that follows it, some 0.6 ns with
// the memory in the cache. An allocation from a Concurrent pins the goroutine to its processor, which adds
// 1.5 to 3.5 ns. An open arena costs a mapping of the kernel, and the memory that it has committed.
//
// # What it does not do
//
// An arena does not free single objects. It does not notice the use of an object after Reset: the memory stays
// mapped, and is handed out again. Epoch helps a program to notice.
package arena
