package slab

import "github.com/seed-9a6c551e/offheap/slab/internal/sampled"

// Sampling says which allocations of all heaps and pools of the process are sampled: served from guarded slots, so that
// misuse is found in production. The zero Sampling, which is the default, samples nothing.
//
//	 a slot                                    or, by a coin
//	┌ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─┬────────┬────────┬ ─ ─ ─┐    ┌ ─ ─ ─┬────────┬────────┬ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//	     inaccessible    │ canary │ object │              guard │ object │ canary │     inaccessible
//	└ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─┴────────┴────────┴ ─ ─ ─┘    └ ─ ─ ─┴────────┴────────┴ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//
// Misuse of a sampled object is found in these ways:
//
//  1. A touch beyond its end, or before its start, where the guard is, faults at that instruction: an
//     Overflow or Underflow. Objects are aligned to 16 bytes, so up to 15 bytes may lie between the
//     end and the guard. A write to these, or to the same OS page on the other side, is found when
//     the object is freed (Overrun).
//  2. A touch of a freed object faults as long as its slot is not used again: UseAfterFree. Slots are
//     used again in the order in which they were freed.
//  3. A second Free is a *guard.Violation, as it is for any object.
//
// The errors have the stacks of the allocation and the free. A fault outside guard.Catch ends the program as any does
// in Go, but first a report is written to standard error: the kind, the address, the size and these stacks. A
// signal handler that goes before Go's writes it; it is there from the first sampled allocation on, on Linux on
// amd64 and arm64. Elsewhere there is no report, nor for threads that Go has never seen, nor on a goroutine that
// panics on faults (debug.SetPanicOnFault).
//
// A heap that is open already notices the change within 4096 allocations of a size class on a processor. Where no
// slot is free, an allocation is not sampled: objects that live long keep their slots (Slots). Objects of more than
// 1 MiB are never sampled, because each is a region of its own.
//
// Cost: one branch for an allocation that is not sampled. A sampled object takes some 10 µs, the cache lines that
// this displaces, at least one OS page, and two of the mappings that the process may hold (vm.max_map_count). Two
// OS pages of a used slot stay charged to the budget, in as many slots as a thirty-second of vm.max_map_count (2047
// by default).
type Sampling struct {
	// Every says how many allocations there are for each that is sampled, in the mean. They are chosen at
	// random, each with the same probability. 1 samples all, 0 none.
	Every int

	// Slots is the number of guarded slots, up to 65536: live sampled objects, and freed ones whose late
	// touches fault. 0 leaves the number as it is, 256 at first. Live objects take at most an eighth of
	// vm.max_map_count (8191 by default), so that the process has mappings left. A slot takes a little more
	// than 1 MiB of addresses; where RLIMIT_AS bounds these, all slots take at most a quarter of the addresses
	// that are left. The number cannot be changed after the first sampled allocation.
	Slots int

	// Seed makes the choice of sampled allocations, and of their places, the same in each run of a
	// program with one goroutine: for tests. 0 leaves the choice as it is; at first it differs from run to run.
	Seed int64
}

// SetSampling replaces the sampling, and returns the sampling that it replaces. It is an error if Every is
// negative, if Slots is not between 0 and 65536, or if Slots changes after the first sampled allocation; then
// nothing has changed. Any goroutine may call it.
func SetSampling(s Sampling) (old Sampling, err error) {
	was, err := sampled.Set(sampled.Sampling(s))
	return Sampling(was), err
}

// CurrentSampling returns the sampling in force.
func CurrentSampling() Sampling { return Sampling(sampled.Current()) }
