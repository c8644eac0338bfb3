// Package region implements regions of memory outside the Go heap: addresses between two guards, the books of
// committed, guarded and locked memory, the process's budget, the list of all regions, the quarantine of closed ones,
// and the reports of regions that were never closed.
//
// Package guard shows it to users, and documents the methods that both have. arena, slab, stack and guardtest use it
// directly, for what users do not see: parts of one owner (Config.PartOf), OnSoft at a moment that the allocator
// chooses (Config.DeferOnSoft, Reclaim), live bytes (CountLive), faults in words of objects (Explain), millions of
// guards (GuardRow), memory that reads zero after Close (KeepZeroes), things that must be closed and have no region
// (OpenPart).
//
// # A region
//
//	 ◀──────────────────── reserved ─────────────────────▶
//	┌───────┬───────────────┬─────────────────────┬───────┐
//	│ guard │   committed   │ not committed (yet) │ guard │
//	└───────┴───────────────┴─────────────────────┴───────┘
//	▲       ▲ base, offset 0                      ▲ data, which Grow moves up to room
//	reservation
//
// A region of OpenFile shows a file in all of its data: see backing in file.go.
//
// A Region is the user's handle. It points to a record, and the registry points to the record: so the collector
// notices a Region that nobody can reach.
//
// # Life of a record
//
//	          Reserve              Close                  the quarantine is full, or gives way
//	(nothing) ───────▶ stateOpen ─────────▶ stateClosed ──────────────────────────────────────▶ released
//	                      │                  (quarantine)
//	                      └─ unreachable: reported, stays open
//
// # Life of an OS page of an open region
//
//	                   Commit                          Protect(None)
//	  not committed ◀──────────▶ committed, usable ◀──────────────────▶ committed, refused
//	        ▲  ▲      Decommit        ▲    ▲          Protect(others)
//	        │  └──────────────────────┘    │
//	MapFile │  Decommit                    │ Guard, Unguard: over any of these, inaccessible
//	        ▼                              ▼
//	  shows a file                      guarded
//
// # The books
//
// A record keeps sets of stretches (spans), in offsets from base. They record the calls, so that every call
// can be checked, undone and repeated without asking the kernel:
//
//  1. committed: by protection and anon_vma number. charge is its bytes, which the budget has; 0 for a file that is
//     not mapped privately.
//  2. guards: over committed and uncommitted memory alike; unmarked: guards that get their markers by Commit.
//  3. locked, hints, files: parts of the region with a lock, an advice, a file. files lies inside committed.
//  4. unlocked: guarded stretches that the process had locked (mlockall).
//  5. fixed: offsets where a mapping of the kernel ends whatever the other books say.
//  6. mappings: how many mappings the region takes, counted from the other books (mapping_limit.go).
//
// A change goes in this order: charge the budget, without the lock, because Budget.OnSoft may call the region; take
// the record's lock; change the books, which takes mappings and may be refused (changeBooks); call the kernel; if it
// refuses, put the books back (correctBooks). So a failed call changes nothing.
//
// # Promises
//
//  1. Locks are taken in this order: ledger.set or parts.mu, record.mu, registry.mu; ledger.goMu and leaks.mu are the
//     last. Move holds two record.mu: it only tries for the second. Each of record.mu and registry.mu has a latch
//     for the signal handler, which takes first the registry's and then a record's, waits a tenth of a second at
//     most, and holds the registry's while it writes its report.
//  2. No user code runs and no user memory is touched under a lock: not OnSoft, not the function of SetOnLeak, not
//     the count of CountLive. Secrets are overwritten under record.mu, after their memory was made accessible.
//  3. ledger.committed is the sum of charge over all records, and of commits that are under way.
//
// # Files
//
//	region.go           Config, Reserve, Region, Close
//	grow.go             Grow
//	file.go             regions that show a file: OpenFile, Grow, Sync, Prefetch
//	commit.go           Commit, Decommit, Discard, and the frame of all calls (change)
//	protect.go guard.go lock.go advise.go map_file.go move.go   the other methods of a Region
//	guards.go           the set of guards, rows of them, markers
//	secret.go           Config.Secret
//	spans.go books.go   sets of stretches; changing the books and back
//	mapping_limit.go anon_vma.go   how many mappings the books need in the kernel
//	budget.go           SetBudget, charge and refund, OnSoft, the Go memory limit
//	registry.go         the list of records, the quarantine, Regions, Usage
//	fault.go            Catch, Locate, Explain
//	report.go           ReportFaults: faults that end the program
//	owner.go            CountLive; regions of one owner
//	leak_queue.go watch_leaks.go   reports of leaks, parts; what a test left open
//	default_reserve.go  how much to reserve where nobody says
package region

import (
	"errors"
	"os"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// The sentinels of guard, under the same names.
var (
	ErrNoMemory = errors.New("no memory")
	ErrClosed   = errors.New("closed")
)

// PageSize returns the bytes of an OS page.
func PageSize() int { return vm.Probe().PageSize }

// lightGuards tells whether guards inside regions are kernel markers. Tests change it.
var lightGuards = vm.Probe().LightGuards && os.Getenv("OFFHEAP_GUARDS") != "mprotect"

// LightGuards tells whether guards inside regions are kernel markers, and not PROT_NONE pages.
func LightGuards() bool { return lightGuards }
