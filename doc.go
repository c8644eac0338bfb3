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
//	parser manages itself                                Protect, Grow
//	a file as memory, which others may make shorter      guard.MapFile, Region.File
//	memory that processes share                          shm.Create, Memory.Send, shm.Receive
//	messages between processes, one after the other      ring.Create, Producer.Send, Consumer.Recv
//	from many processes, to many processes               ring.FanIn, ring.CreateBroadcast
//	the same, opened by a name                           shm.CreateNamed, shm.OpenNamed
//	tables and objects there                             arena.OpenIn, arena.Publish, table.Attach
//	a bound on all of it                                 guard.SetBudget
//	a fuzz test that fails at the byte read too far      guardtest.Fence
//	a test that fails if something is left open          guardtest.CheckLeaks
//	use after free in production, now and then           slab.SetSampling
//
// In code, from the data that there is to the first two calls:
//
//	bytes by a key           c, err := cache.Open(cache.Config{Limit: 1 << 30})
//	                         err = c.Set(key, value); value, ok := c.Get(nil, key)
//	structs by a key         a, err := arena.Open(arena.Config{}); m := table.NewMap[uint64, order](a, 0)
//	                         m.Put(7, o); o, ok := m.Get(7)
//	the same, many           m := table.NewConcurrent[uint64, order](a, 0)
//	goroutines               m.Update(7, func(o order, ok bool) (order, bool) { o.Count++; return o, true })
//	objects of a request     requests, err := arena.OpenPool(arena.Config{}); a := requests.Get()
//	                         n := arena.New[node](a); requests.Put(a)
//	bytes of any length      h, err := slab.Open(slab.Config{}); b := h.Alloc(n, 1); ref := h.Ref(b)
//	                         b = h.Bytes(ref); h.Free(b)
//	objects of one type      p, err := slab.OpenPool[session](slab.Config{}); s := p.Get(); name := slab.HandleOf(p, s)
//	                         s, ok := name.Deref(p); p.Put(s)
//
// The examples of this package have this code, and a service of your own in 60 lines: tables in shards, each with a lock,
// and names of any length beside them.
//
// # References instead of addresses
//
// Off-heap structs hold no Go pointers. An address kept as a uintptr is not refused, but go vet objects to the way back,
// and nothing tells when its object is gone. Keep one of these:
//
//	arena.Ref[T]    an object of an arena; follow it with Deref. It does not depend on the arena's address
//	slab.Ref        bytes of a slab.Heap; Bytes refuses one whose object was freed
//	slab.Handle[T]  an object of a slab.Pool; Deref tells whether it is still there
//	table.Ref       a table in an arena; Attach opens it
//	an index        of an element in one large slice: 4 bytes suffice
//
// Text is a reference and a length. Go pointers stay on the Go heap, in a slice or a map, and off-heap structs keep the
// index.
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
//	claim, publish           take room in a ring; send what was written there
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
// GOGC. The collector runs when the Go heap has grown by GOGC percent, so it runs all the time when next to nothing is left
// there. GOGC=400 to 800 suits a program whose data has moved: in a trial 280 collections became 31. Or set GOGC=off and GOMEMLIMIT, with guard.Budget.ShareGoLimit: then off-heap memory counts towards the limit.
//
// VIRT in terabytes. Top's VIRT and the kernel's VmSize count reserved addresses, 64 GiB for each arena and heap, and those
// in quarantine. They cost nothing: no memory stands behind them. RES, or VmRSS, is what is in RAM. Where addresses are limited
// (RLIMIT_AS, ulimit -v), the defaults are smaller; Config.Reserve of each package sets them.
//
// Limit and size classes. The Limit of a slab.Heap bounds committed memory, and slots are committed by slabs of one size
// class. A slot that is freed serves objects of its class, until all of its slab is free. So a heap that is full of objects
// of 128 bytes may have no room for one of 640, though every second is freed. Free objects that lie together, or use package
// cache, which evicts until a whole slab is free.
package offheap
