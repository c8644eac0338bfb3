// Package guard gives programs regions of memory outside the Go heap, each between two inaccessible
// guards. A touch of inaccessible memory ends the program at that instruction or, inside Catch,
// becomes a Go error that says what was touched. With ReportFaults a program that ends says it, too.
//
// It is for people who map memory themselves: another allocator, the host of a wasm program, a buffer that
// must not reach a disk. For objects see arena, slab, table and stack, which are built on the same regions;
// their budget, their faults and their list are the ones here.
//
// # A region
//
//	         ◀──────────────────── reserved ─────────────────────▶
//	        ┌───────┬───────────────┬─────────────────────┬───────┐
//	        │ guard │   committed   │ not committed (yet) │ guard │
//	        └───────┴───────────────┴─────────────────────┴───────┘
//	                ▲ Base                                ▲ Base+Size, which Grow moves
//	touch:  underflow       fine          decommitted       overflow
//
// An OS page is the kernel's unit of memory (PageSize). Four figures are told apart everywhere: reserved
// (addresses), committed (usable, and charged to the budget), resident (in RAM now), live (handed out by an
// allocator).
//
// # Life
//
//  1. Reserve claims addresses, chosen by the kernel. They take no memory, and the budget is not
//     charged.
//  2. Commit makes OS pages usable and charges the budget. They read zero. Memory comes into RAM when it
//     is touched, or at once with Config.Prefault.
//     Grow makes a region larger at its end, where Config.Reserve has left room, and the address stays.
//  3. Protect changes what may be done with committed memory. Guard makes a part inaccessible without
//     splitting the mapping, and Unguard undoes that.
//  4. Decommit gives memory back, refunds the budget and keeps the addresses. Discard gives memory back
//     and keeps it committed.
//  5. Close gives all memory back and puts the addresses into quarantine: a stale pointer faults
//     (UseAfterClose) instead of reading another mapping that got the same addresses. The oldest regions
//     leave the quarantine when it holds more than its bound (SetQuarantine) or 4096 regions, and when the
//     system refuses addresses, mappings or memory.
//
// A region that becomes unreachable without Close is reported (SetOnLeak), with the stack of the call that
// opened it, and stays mapped: nothing depends on finalizers.
//
// # Files
//
// MapFile makes a region that shows a file, with guards on both sides. Any offset will do. Three modes:
//
//	FileRead     reads alone: a store faults (ReadOnly)
//	FileShared   stores go to the file, and to everybody who maps it; Sync puts them on the disk
//	FilePrivate  a store copies its OS page, and the file never changes; the budget is charged
//
// If somebody makes the file shorter, a touch beyond its new end faults (Truncated). If the disk is full, or fails, a touch
// faults, too (FileFailed). Region.File reads and writes the same bytes as an io.ReaderAt, io.WriterAt and so on, and has
// errors in the place of faults. Package shm, above this one, shares memory that nobody can make shorter.
//
// The parameters of mmap, and who serves them here. A test has a row for each:
//
//	parameter            served by
//	addr                 Config.Near, FileConfig.Near: a hint, never forced; 0 lets the kernel choose
//	length               Config.Size, positive, rounded up to OS pages; FileConfig.Length, any, 0 to the end
//	PROT_READ            Region.Protect with Read; FileRead
//	PROT_WRITE           Region.Commit; Region.Protect with ReadWrite; FileShared, FilePrivate
//	PROT_EXEC            Region.Protect with ReadExecute; there is no write+execute
//	PROT_NONE            Reserve, before Commit; Region.Protect with None
//	MAP_SHARED           FileShared; package shm
//	MAP_PRIVATE          Reserve; FilePrivate
//	MAP_ANONYMOUS        Reserve
//	fd                   the file that MapFile takes; -1, no file, is Reserve
//	offset               FileConfig.Offset: any, not only multiples of the OS page
//	MAP_POPULATE         Config.Prefault, FileConfig.Populate, Region.Prefetch
//	MAP_LOCKED           Region.Lock
//	MAP_NORESERVE        always
//	MAP_HUGETLB          no: Config.HugePages asks for transparent huge pages
//	MAP_GROWSDOWN        no: package stack
//	MAP_FIXED            never: it replaces memory of others
//	mremap               Region.Grow inside of Reserve; Region.Move
//	msync                Region.Sync
//	madvise              Region.Advise, Region.Discard, Region.Prefetch
//
// # Faults
//
// Catch runs a function and returns a touch of inaccessible memory of any region as a *Fault. Faults
// elsewhere, and other panics, go on unchanged. Misuse that an allocator notices itself, such as a double
// free, panics with a *Violation. Both have a Kind to compare with.
//
// A fault outside Catch ends the program, and Go says nothing but "unexpected fault address" and the
// stacks. ReportFaults makes the program write the text of the *Fault first. That is on from the first
// hardened heap, the first sampled object and the first fence.
//
// # For tests
//
// Package guardtest, below this one, puts the input of a test between guards (Fence), and fails tests that
// leave something open or allocated (CheckLeaks).
//
// # Concurrency
//
//  1. Any number of goroutines may call all functions of the package, and all methods of a Region.
//  2. The program synchronises the memory itself: Decommit, Discard, Protect, Guard, Move and Close take it
//     away from every goroutine that is using it.
//  3. Callbacks run without any lock held: Budget.OnSoft on the goroutine that commits, the function of
//     SetOnLeak on a goroutine of its own, one call after the other.
//
// # Cost (Linux 6.18, x86-64)
//
// Reserve takes a few microseconds, whatever the size. Close takes that, and the kernel's time to free
// resident memory. Commit and Decommit are two system calls each. Guard takes 0.3 µs, and 14 ns for each
// further OS page. Catch takes some nanoseconds, and a signal if it catches a fault.
//
// # Limits of the system
//
//  1. Mappings (vm.max_map_count, 65,530 by default). A region takes one. Each stretch that is committed
//     apart from others takes two more, and so do each HugePages, Secret, and Decommit in the middle of
//     committed memory; Discard takes none. A region that shows a file takes three. The Go runtime ends the
//     program when it gets no mapping. So all regions together take at most half (Totals.Mappings): beyond that, the quarantine
//     is released, and then Reserve and Commit return an error that wraps ErrNoMemory and names the limit.
//  2. Locked memory (mlockall). Committed memory is locked like all other memory of the process, and
//     Decommit unlocks it. Guards take two mappings each.
//  3. Strict accounting (vm.overcommit_memory=2). The kernel charges committed memory, and neither addresses
//     nor decommitted or closed memory. Where it refuses memory, the quarantine is released before Commit
//     fails.
//  4. Addresses (RLIMIT_AS). Where a program gives no size, the packages above reserve at most a quarter of
//     the addresses that are left.
//  5. Core dumps contain committed memory that was touched, and no reserved addresses.
//  6. top shows reserved addresses as virtual memory (VIRT), which may be terabytes. Only resident memory
//     (RES) is in RAM.
//
// # Guards inside a region
//
// Linux 6.13 and later have guard markers (MADV_GUARD_INSTALL): any number in one mapping. Elsewhere a guard is
// a PROT_NONE page, which splits the mapping, so some 16,000 fit into a process (LightGuards). The environment
// variable OFFHEAP_GUARDS=mprotect forces PROT_NONE pages, for tests.
//
// # Secrets
//
// Config.Secret keeps the contents of a region from reaching a disk, and from staying behind in freed
// memory: committed memory is locked into RAM, left out of core dumps, and overwritten by Decommit, Discard,
// Guard and Close. That holds for the bytes in the region and for nothing else. A string made of them, a
// slice that was appended to, the registers and the stack of a function that works on them are Go's. Go
// copies them as it likes, never overwrites them and dumps them. So compute in place, and Close. If the
// process ends without Close, the kernel overwrites the memory before it gives it to another process. A
// debugger and root may read the process's memory, and a machine that hibernates writes it to a disk.
//
// # What it does not do
//
//   - It does not keep Go pointers alive: the collector never looks into a region.
//   - It does not check bounds inside committed memory.
//   - It does not turn the kernel's out-of-memory kill into an error: only a Budget can, before.
//
// # What Go does not know about off-heap memory
//
//   - runtime.SetFinalizer ends the program: "pointer not in allocated block", also with nil as the
//     finalizer.
//   - runtime.AddCleanup panics: "ptr not in allocated block".
//   - weak.Make ends the program: "getWeakHandle on invalid pointer".
//   - The collector does not keep a region for a pointer into it, made by reflect, unsafe.String or
//     unsafe.Slice. Keep the Region itself, and close it after the last use. A region that only such
//     pointers lead to is reported as leaked, and stays.
//   - Reads and writes of an os.File, and other system calls, return the error "bad address"
//     (syscall.EFAULT) for closed or decommitted memory: there is no fault, and Catch returns nil.
//   - A map keeps the key's string, not its bytes. Once the bytes change, the key is not found as it was,
//     nor, in most maps, as it is. Once they are gone, a lookup that meets the key faults. An
//     assignment that meets it leaves the map unusable, also inside Catch: the next one ends the program,
//     as concurrent ones do. Make keys by strings.Clone.
//   - strings.Clone and unique.Make copy the bytes to the Go heap, so their results outlive the
//     region. A string that is cut from an off-heap one, or converted to any, does not.
//   - Channels, println and panic end the program where they meet bytes that are gone: see Catch.
//   - The race detector does not look at off-heap memory. It misses races there, and reports false ones for
//     Go memory that is synchronised by atomics in a region.
//   - Heap profiles, runtime.MemStats, runtime/metrics and GOMEMLIMIT do not count it. Usage and
//     Regions do, and Budget.ShareGoLimit shares the limit.
package guard

import (
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// ErrNoMemory is wrapped by every error for a lack of memory: a budget, a full reservation, a limit of the
// process, or the kernel. The error's text has the figure and the limit's name.
var ErrNoMemory = region.ErrNoMemory

// ErrClosed is wrapped by the error of a call on a closed region or allocator.
var ErrClosed = region.ErrClosed

// Prot says which accesses committed memory allows. No Prot allows to write and to run code.
type Prot = vm.Prot

// The protections that Region.Protect takes.
const (
	None        Prot = vm.None        // every touch faults; contents and charge stay
	Read        Prot = vm.Read        // writes fault
	ReadWrite   Prot = vm.ReadWrite   // the protection that Commit gives
	ReadExecute Prot = vm.ReadExecute // writes fault, machine code runs (the caller synchronises instruction caches)
)

// Advice is a hint for Region.Advise.
type Advice = vm.Advice

// The hints that Region.Advise takes.
const (
	Normal      Advice = vm.Normal      // take Sequential and Random back
	Sequential  Advice = vm.Sequential  // will be read in order
	Random      Advice = vm.Random      // will be read in no order
	WillNeed    Advice = vm.WillNeed    // will be read soon
	HugePages   Advice = vm.HugePages   // back it with huge pages where they fit
	NoHugePages Advice = vm.NoHugePages // never back it with huge pages
	NoDump      Advice = vm.NoDump      // leave it out of core dumps
	DontNeed    Advice = vm.DontNeed    // will not be used soon: it may leave RAM, and the contents stay
)

// PageSize returns the bytes of an OS page, the unit of Commit and the other methods of Region: 4096 on
// most machines, up to 65536.
func PageSize() int { return region.PageSize() }

// LightGuards tells whether guards inside a region are kernel markers, any number in one mapping. If not, each
// is a PROT_NONE page, of which some 16,000 fit into a process. In Secret regions they are such pages
// everywhere.
func LightGuards() bool { return region.LightGuards() }
