package slab

import "github.com/seed-9a6c551e/offheap/slab/internal/sampled"

// Sampling says which allocations of all heaps and pools of the process are served from guarded slots. The
// zero Sampling samples nothing, which is the default.
//
//	 a slot                                    or, by a coin
//	┌ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─┬────────┬────────┬ ─ ─ ─┐    ┌ ─ ─ ─┬────────┬────────┬ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//	     inaccessible    │ canary │ object │              guard │ object │ canary │     inaccessible
//	└ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─┴────────┴────────┴ ─ ─ ─┘    └ ─ ─ ─┴────────┴────────┴ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//
// What is found of a sampled object:
//
//  1. A touch beyond its end, or before its start, where the guard is, faults at that instruction: an
//     Overflow or Underflow. Objects are aligned to 16 bytes, so up to 15 bytes may be between the
//     end and the guard. A write to those, or on the other side, to the same OS page, is found when
//     the object is freed.
//  2. A touch after it was freed faults as long as the slot is not used again: UseAfterFree. Slots are
//     used again in the order in which they were freed.
//  3. A second Free is a *Violation, as it is in any heap.
//
// Both errors have the stacks of who allocated it and who freed it. A fault that no Catch is there for
// ends the program as any does in Go, but first one report of what was touched, where, how large it
// is, and these stacks is written to standard error: by a signal handler that goes before Go's. It is
// there from the first sampled allocation on, on Linux on amd64 and arm64; elsewhere there is no
// report, nor for threads that Go has never seen, nor on a goroutine that panics on faults
// (debug.SetPanicOnFault).
//
// A heap that was opened before notices the change within 4096 allocations of a size on a processor.
// What is not sampled costs one branch more; a sampled object some 10 µs and what it pushes out of
// the caches, an OS page at least, and two of the mappings that the process may hold
// (vm.max_map_count). Two OS pages of a slot stay charged to the budget once they were used, of as
// many slots as a thirty-second of vm.max_map_count (2047 by default). Where no slot is free the
// allocation is not sampled: objects that live long keep their slots, see Slots. Nor are
// objects of more than 1 MiB, each of which is a region of its own.
type Sampling struct {
	// Every has one allocation in Every, in the mean, sampled: chosen at random, each with the same
	// probability. 1 is all of them, 0 none.
	Every int

	// Slots is how many guarded slots there are: the most sampled objects, and what was freed of
	// them last; up to 65536. 0 leaves the number as it is, 256 at first. Objects are in no more of them
	// than an eighth of vm.max_map_count (8191 by default), so that the process has mappings left for all
	// else. A slot takes a little more than 1 MiB of addresses: where RLIMIT_AS bounds these, slots take a
	// quarter of what it leaves at most. Once something was sampled the number stays.
	Slots int

	// Seed makes the choice of what is sampled, and where it lies, the same in each run of a
	// program with one goroutine: for tests. 0 leaves the choice as it is; at first it differs from run to run.
	Seed int64
}

// SetSampling replaces the sampling, and returns the one that it replaces. After an error, for a negative
// Every, or Slots that cannot be or come too late, nothing has changed. Any goroutine may call it.
func SetSampling(s Sampling) (old Sampling, err error) {
	was, err := sampled.Set(sampled.Sampling(s))
	return Sampling(was), err
}

// CurrentSampling returns the sampling in force.
func CurrentSampling() Sampling { return Sampling(sampled.Current()) }
