// Package guard makes regions: stretches of memory outside the Go heap, each
// between two guards. A touch of what must not be touched ends the program at that
// instruction or, inside Catch, becomes a Go error that says what was touched.
//
// # A region
//
//	         ◀──────────────────── reserved ─────────────────────▶
//	        ┌───────┬───────────────┬─────────────────────┬───────┐
//	        │ guard │   committed   │ not committed (yet) │ guard │
//	        └───────┴───────────────┴─────────────────────┴───────┘
//	                ▲ Base                                ▲ Base+Size
//	touch:  underflow       fine          decommitted       overflow
//
// # Life
//
//  1. Reserve reserves addresses, chosen by the kernel. No memory stands behind
//     them, and the budget is not charged.
//  2. Commit makes OS pages usable and charges the budget. They read zero. Memory
//     comes into RAM when it is touched, or at once with Prefault.
//     MapFile makes them show a file instead, private to the process.
//  3. Decommit gives memory back, refunds the budget and keeps the addresses.
//     Protect changes what may be done with committed memory. Guard makes a
//     part inaccessible without splitting the mapping, Unguard undoes it.
//  4. Close makes the whole region inaccessible and puts its addresses into
//     quarantine: a stale pointer faults (use after close) instead of reading
//     what the kernel put there next. The oldest leave the quarantine when it
//     holds more than its limit (SetQuarantine) or 4096 regions, and when addresses, mappings or
//     memory are refused that they may be the reason for.
//
// A region that becomes unreachable without Close is reported (OnLeak), with
// where it was opened, and stays mapped: nothing depends on finalizers.
//
// # Faults
//
// Catch runs a function and returns a touch of any region's inaccessible memory
// as a *Fault. Faults elsewhere, and other panics, go on unchanged.
//
// # Other people's mistakes
//
// Package guardtest, below this one, is for tests: its Fence puts the input of a test between guards, so that
// code which reads or writes too far fails the test at that instruction, and its CheckLeaks lets a test fail
// that leaves something open or allocated. slab.SetSampling has some allocations of slab heaps between guards,
// in production: a touch after free, or beyond the end, is told with who allocated and who freed.
//
// Fences and sampled objects put one handler of SIGSEGV and SIGBUS before Go's (Linux on amd64
// and arm64), when the first is made: it notes the address, says what was touched if the program
// ends by it, and passes everything on.
//
// # Concurrency
//
//  1. All functions of the package, and all methods of a Region, may be called by any
//     number of goroutines.
//  2. The memory is the user's to synchronise: Decommit, Protect, Guard and
//     Close take it away from whoever is using it.
//  3. Callbacks (Budget.OnSoft, OnLeak) are called without any lock held, on the
//     goroutine that caused them; OnLeak one call after the other, on a goroutine of its own.
//
// # Cost (Linux 6.18, x86-64)
//
// Reserve takes a few microseconds whatever the size, Close that and what the kernel takes to free what
// is in RAM. Commit and Decommit are two system calls each. Guard takes 0.3 µs and 14 ns for
// each further OS page. Catch takes some nanoseconds, and a signal where it catches a fault.
//
// # Limits of the system
//
//  1. Mappings (vm.max_map_count, 65,530 by default): a region takes one, and two more for each stretch
//     that is committed apart from others, for each MapFile, for HugePages and for Secret. The Go runtime ends the program when it gets none, so all
//     regions together take at most half (Totals.Mappings): beyond that, Reserve and Commit return
//     an error that wraps ErrNoMemory and names the limit; what is in quarantine is released first.
//     Decommit in the middle of what is committed takes two as well; Discard gives the memory back
//     without.
//  2. Locked memory (mlockall): what is committed is locked with all else, and goes back as from other
//     programs. Guards take two mappings each.
//  3. Strict accounting (vm.overcommit_memory=2): addresses are not charged, what is committed is, and
//     what is decommitted or closed is not any more. Where the kernel refuses memory, the
//     quarantine is released before Commit fails.
//  4. Addresses (RLIMIT_AS): what the packages above reserve unless they are told a size takes at most a
//     quarter of what is left.
//  5. Core dumps have what is committed and was touched, not what is reserved.
//  6. Programs that top shows with terabytes of virtual memory (VIRT) have reserved them. Only what is
//     resident (RES) is in RAM.
//
// # Guards inside a region
//
// Linux 6.13 and later have guard markers (MADV_GUARD_INSTALL): any number in one mapping.
// Elsewhere a guard is a PROT_NONE page, which splits the mapping, so some
// 32,000 fit into a process. The environment variable OFFHEAP_GUARDS=mprotect
// forces that for tests.
//
// # Secrets
//
// Config.Secret keeps what lies in the region from reaching a disk, and from lying about afterwards:
// it is locked into RAM, left out of core dumps, and overwritten on every way out (Decommit,
// Discard, Guard, Close). That is for the bytes in the region and for nothing else: a string made of
// them, a slice that was appended to, the registers and the stack of a function that works on them
// are Go's, which copies them as it likes, never wipes them and dumps them. So compute in place, and
// Close. A process that ends without Close leaves the wiping to the kernel, which does it before it
// gives the memory to somebody else. Whoever may read the process's memory (a debugger, root) reads
// secrets too, and a machine that hibernates writes them down.
//
// # What it does not do
//
// It does not keep Go pointers alive: the collector never looks into a region. It does not check
// bounds inside committed memory. It cannot turn the kernel's out-of-memory kill into an error:
// only the budget can, before.
//
// # What Go does not know about off-heap memory
//
//   - runtime.SetFinalizer ends the program: "pointer not in allocated block", with nil as the
//     finalizer, too.
//   - runtime.AddCleanup panics: "ptr not in allocated block".
//   - weak.Make ends the program: "getWeakHandle on invalid pointer".
//   - The collector does not keep a region for a pointer into it, made by reflect, unsafe.String or
//     unsafe.Slice: keep the Region itself, and close it after the last use. Where only such pointers
//     are left the region is reported as leaked, and stays.
//   - Reads and writes of an os.File, and other system calls, return the error "bad address"
//     (syscall.EFAULT) for closed or decommitted memory: there is no fault, and Catch returns nil.
//   - A map keeps the key's string, not its bytes. Once the bytes change, the key is not found as it was,
//     nor, in most maps, as it is. Once they are gone, a lookup that meets the key faults. An
//     assignment that does leaves the map unusable, also inside Catch: the next one ends the program,
//     as concurrent ones do. Make keys by strings.Clone.
//   - strings.Clone and unique.Make copy the bytes to the Go heap, so their results outlive the
//     region. A string that is cut from an off-heap one, or converted to any, does not.
//   - Channels, println and panic end the program where they meet bytes that are gone: see Catch.
//   - The race detector does not look at off-heap memory: it misses races there, and it takes what
//     is synchronised by atomics there for races elsewhere.
//   - Heap profiles, runtime.MemStats, runtime/metrics and GOMEMLIMIT do not count it: Usage and
//     Regions do, and Budget.ShareGoLimit shares the limit.
package guard

import (
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// ErrNoMemory is wrapped by every error that means "no memory": the budget, a
// reservation that is full, a limit of the process, or the kernel. The error's
// text has the figure and the limit's name.
var ErrNoMemory = region.ErrNoMemory

// ErrClosed is wrapped by the error of a call on a closed region or allocator.
var ErrClosed = region.ErrClosed

// Prot is what may be done with committed memory. There is no write+execute.
type Prot = vm.Prot

const (
	None        = vm.None        // every touch faults; contents and charge stay
	Read        = vm.Read        // writes fault
	ReadWrite   = vm.ReadWrite   // what Commit gives
	ReadExecute = vm.ReadExecute // writes fault, machine code runs (the caller synchronises instruction caches)
)

// Advice is a hint for Region.Advise.
type Advice = vm.Advice

const (
	Normal      = vm.Normal      // no hint
	Sequential  = vm.Sequential  // will be read in order
	Random      = vm.Random      // will be read in no order
	WillNeed    = vm.WillNeed    // will be read soon
	HugePages   = vm.HugePages   // back it with huge pages where they fit
	NoHugePages = vm.NoHugePages // never back it with huge pages
	NoDump      = vm.NoDump      // leave it out of core dumps
)

// PageSize returns the bytes of an OS page, the unit of Commit and the others.
func PageSize() int { return region.PageSize() }

// LightGuards is true where guards inside a region are kernel markers, any number in one mapping,
// and false where each is a PROT_NONE page, of which some 32,000 fit into a process. In Secret
// regions they are such pages everywhere.
func LightGuards() bool { return region.LightGuards() }
