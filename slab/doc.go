// Package slab is a general allocator outside the Go heap: objects of any size, allocated and freed one
// by one, by any goroutine.
//
// A Heap hands out []byte and values of types without pointers, and references to them. A Local is the same heap for one
// goroutine, and faster. A Pool hands out objects of one type, and handles to them.
//
// # Memory
//
//	 units of 64 KiB, in one region
//	┌──────┬──────┬─────────────┬──────┬──────┬─ ─ ─ ─ ─ ─ ─
//	│ slab │ slab │    slab     │ free │ slab │ decommitted
//	└──────┴──────┴─────────────┴──────┴──────┴─ ─ ─ ─ ─ ─ ─
//	   │
//	   ▼
//	┌──────┬────────┬──────┬────────┬─ ─ ┬──────┐     metadata, in    ┌──────┬────────┬──────┬────────┬─ ─
//	│ live │ cached │ live │  free  │    │ live │     a region apart: │ live │ cached │ live │  free  │
//	└──────┴────────┴──────┴────────┴─ ─ ┴──────┘     a byte each     └──────┴────────┴──────┴────────┴─ ─
//	   slots of 64 bytes
//
// A slab is a run of equal slots of one size class. There is a class for each multiple of 16 up to 128
// bytes, and eight between a power of two and the next up to 1 MiB. A larger object is large: see below.
// Metadata lie apart from the slots, so an overrun cannot reach them.
//
// # The way of an object
//
//	Alloc ──▶ cache of the processor, or of the Local: a magazine for each class
//	            │ empty                        ▲ half of a magazine     ┌ full
//	            ▼                              │                        │
//	          depot of the class: batches of slots, slabs with free slots, one empty slab
//	            │ none                         ▲                        │ empty
//	            ▼                              │ a new slab             ▼
//	          units ───────────────────────────┘                      units ──▶ the system
//
// Step by step:
//
//  1. Alloc takes the slot that was freed last on this processor, and Free puts it back there. That is one short
//     function without a lock, which the scheduler does not interrupt. (Where that cannot be relied on, the goroutine
//     is pinned to its processor instead, which takes some 3 ns more: with a Go release that is not known yet, and
//     in builds for the race detector.)
//  2. An empty magazine is refilled from the depot of its class, which all caches share: with a batch of
//     slots that another magazine gave, or with free slots of a slab in the order of their addresses.
//  3. A full magazine gives the older half of its slots to the depot, which keeps them as a batch or
//     returns them to their slabs.
//  4. A slab without live or cached slots is empty. The depot keeps one for a moment. The units of other
//     empty slabs become free, for slabs of any class.
//  5. Free units are decommitted after half a second. No goroutine waits for that: the slow path of a
//     later call does it, and takes that much longer. If no slow path ran for half a second, the next one
//     first drains the processors' caches, where that may free a MiB or more: it stops the world for
//     some microseconds. Purge does all this at once.
//
// Caches belong to processors and not to threads, of which a program may have many more: so at most GOMAXPROCS caches
// hold free slots, each up to 64 KiB and 128 slots of a class.
//
// # Large objects
//
// An object of more than 1 MiB has a region of its own, as has one that is aligned to more than 64 KiB. A touch behind
// the region faults.
//
//  1. Free keeps the region, committed, for the next object that it fits: the region may be an eighth longer than the
//     object. Such an object takes no system call and no page fault; Alloc clears it, AllocDirty does not.
//  2. At most 256 regions are kept, and 256 MiB or, if that is more, as many bytes as live large objects have. The
//     coldest leave first.
//  3. What was kept for half a second is closed by a later slow path; Purge closes all at once. A request that would
//     fail for lack of memory or addresses closes kept regions first.
//  4. Fresh objects of 2 to 64 MiB get huge pages where the system has them. A longer one may be sparse, and then
//     each touch would take 2 MiB of RAM.
//  5. Realloc moves the OS pages of an object that grows, without a copy.
//
// # References
//
// A Ref names an object of any size in 8 bytes without a pointer: for the entries of tables and caches, which may then
// outlive the object. Heap.Ref makes one from an object, and Heap.Bytes and Heap.TryBytes lead back.
//
//	 Ref: place, generation                  metadata, apart from the slots
//	┌───────┬───────────────┐               ┌──────────┬───────────┐
//	│       │               │ ── place ──▶  │  state   │ generation│ ── equal ──▶ the object
//	└───────┴───────────────┘               └──────────┴───────────┘
//	                                         referenced
//
// Step by step:
//
//  1. Alloc knows nothing of references. The first Ref to an object changes the state of its slot from live to
//     referenced, and gives the object a generation.
//  2. Free of a referenced object takes the slow path, which makes it a cached slot like others. From then on its
//     references are stale: the state is not referenced. The next object in the slot has another generation.
//  3. Bytes compares the state and the generation. Stale references, those of another heap, and forged ones are a
//     *guard.Violation; TryBytes returns false for them.
//
// The promises:
//
//  1. Free, Reset, and a Realloc that moves the object make its references stale. One that leaves the object in its
//     place does not.
//  2. A stale reference to an object in a slot may name another object after 2^31 more objects with references in the
//     same 64 KiB. References to large objects never do.
//  3. Objects of Locals, aligned ones, large ones, sampled ones and those of no bytes have references as others do.
//  4. Any goroutine may call Ref and Bytes. A goroutine that frees an object while another uses what Bytes returned is
//     a mistake of the program, as with pointers; the heap stays whole.
//
// A program that makes no Ref pays nothing. The first one reserves addresses, a quarter of Config.Reserve and at most
// 8 GiB. Each slot that the heap has takes 4 bytes of them, or up to 8 in size classes that are no power of two, and they
// are charged as far as the heap has slots, and in RAM where objects have references. An Alloc, a Ref and a Free take 4.3
// times as long as an Alloc and a Free: the first Ref to an object takes a lock that it shares with few others, and the
// Free the slow path. A second Ref takes a third of that, and Bytes as long as Handle.Deref.
//
// # Concurrency
//
//  1. Any number of goroutines may use a Heap, and any of them may free an object.
//  2. A Local is for one goroutine at a time.
//  3. No lock is held while user memory is touched.
//  4. Users synchronise what they do to an object.
//  5. Close may be called while others use the heap: their calls then panic with a *guard.Violation. Reset may not.
//  6. guard.Budget.OnSoft may use the Heap, Pool or Local whose allocation it is called for.
//
// # Misuse
//
// Free looks up the state of the slot. It panics with a *guard.Violation, and changes nothing, for an
// object that was freed already, a pointer into or between objects, and memory of others. Three misuses
// go unnoticed in a heap that is not hardened:
//
//   - A late Free, after the slot or the region was handed out again: it frees the new object.
//   - A touch behind the end of an object, or after it was freed. After Free of a large object, a touch faults once the
//     heap keeps its region no longer: see Large objects.
//   - Some races of two goroutines that free one object at the same moment. The slot is then cached
//     twice, and the second one that leaves a magazine is the violation. The call that takes it out raises
//     it, which may be any Alloc, Free, Purge or Local.Close; the heap is whole afterwards. It goes
//     unnoticed if both leave their magazines at the same moment, or if a fast path takes the second one
//     after the slab was given back and its memory became a slab of another size. To notice the last case
//     would take a tenth more time for each allocation.
//
// # Hardened heaps
//
// With Config.Hardened a heap notices more, as violations:
//
//   - Of two goroutines that free one object at the same moment, one panics, at once.
//   - A canary fills the slot behind each object. Free of the object finds any change of it; a change of
//     the bytes before an object is found when the object in front is freed.
//   - Free fills the slot with a random pattern. Before the slot is handed out again, a change of it is
//     found, and then nobody gets the slot.
//   - Freed slots are in quarantine until others of their size were freed: 16 KiB of them, at most 512
//     slots, at least one. A second Free until then is found. Purge, and a lack of memory, end quarantine.
//   - Slots are handed out in random order.
//   - The memory behind each slab, and that of empty slabs, is inaccessible. Large objects end at
//     inaccessible memory, as nearly as their alignment allows, and objects of no bytes lie in such
//     memory.
//   - Free of a large object keeps nothing: a touch faults at once.
//   - The capacity of an object is its length, and Free[T] and FreeSlice compare the size of what they
//     free with the size that was asked for.
//
// It does not find a write of the same bytes, a write that leaps over a canary into another object, or a
// read of accessible memory.
//
// A touch of inaccessible memory outside guard.Catch ends the program. From the first hardened heap on, the
// program first says in one line of standard error which region was touched, where, and why: the first
// hardened heap calls guard.ReportFaults.
//
// The 64 KiB behind each slab are charged to the budget, as the slab is, and are never in RAM. Where
// guards are not kernel markers (guard.LightGuards), each takes two mappings instead: a slab is refused
// when regions have half of the mappings that the process may hold (vm.max_map_count), after 1 GiB of
// slabs or more.
//
// # Race detector
//
// In builds with -race, a program that hands slots over by Free and Alloc is clean: what a goroutine did
// before Free comes before what another does after Alloc. Alloc, Free, Put and Realloc count as writes to
// the object; Size, Ref, HandleOf, and a Bytes or Deref that finds the object count as reads. So the detector reports
//
//   - two goroutines that free one object,
//   - a goroutine that looks at, frees or reallocates an object by a stale pointer while another has the
//     slot, and
//   - a goroutine that asks for the size of an object, or finds it by its handle or reference, while another frees it.
//
// Loads and stores do not count: the detector knows the Go heap only. To have a store looked at, call
// RaceWrite beside it; for a load, call Size or HandleOf. The object counts as a whole. Large objects are
// not looked at. In such builds a processor's cache has a lock, so two goroutines that allocate may seem to be
// synchronised when they are not.
//
// # Cost
//
// The time of a call depends on the size and the alignment. Last column: the time of an Alloc and a Free in turn, as a
// multiple of the first row's.
//
//	size                               way of the object                                         time
//	up to 8 KiB                        a magazine, by one short function without a lock          1
//	up to 16 KiB, or aligned above 16  a magazine, after a search for the class                  2
//	up to 1 MiB                        the lock of the class's depot: caches keep no such slots  15
//	more than 1 MiB                    the lock of the heap's large objects                      15
//
// Clearing the object comes on top, and so do the slow paths. A slow path moves up to 64 slots at once.
//
// In the first row Alloc reads the class, a magazine, the slot's name in it and the slot's state; Free reads the unit's
// entry, the slot's state and the magazine. Each is in a cache line of its own, and none is the object's.
// bench/RESULTS.md has figures beside C allocators.
//
// The Go heap holds a cache of 55 KB for each processor that allocates, and the books of the addresses
// (Config.Reserve).
//
// A hardened heap reads a whole slot when it hands it out and writes it when it is freed, so all of a slab is in RAM
// from its first use.
//
// # What it does not do
//
// It does not move objects: a slab with few live slots stays, and Stats.Free says how much that costs.
package slab
