package stack

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// Stats are the figures of a pool. After the region of the pool is closed all are 0, except for
// HighWater.
type Stats struct {
	Reserved  int64 // bytes of address space, guards included
	Committed int64 // bytes charged to the budget: whole stacks and their guards
	Live      int64 // bytes in use on all stacks together
	HighWater int   // most bytes that any one stack ever had in use, stacks that Purge gave back included

	Stacks int // stacks that are in use or idle; Purge takes some of the idle ones away
	InUse  int // stacks of these that are in use

	// Depths is a histogram of the high-water marks of these stacks. The first column is 1 KiB, and each
	// column is twice the one before.
	Depths []Depth
}

// Depth is a column of the histogram in Stats.
type Depth struct {
	UpTo   int // upper bound of the column in bytes, included; the lower bound is half of it, or 0 in the first column
	Stacks int // stacks whose high-water mark lies in the column
}

// firstColumn is the UpTo of the first column.
const firstColumn = 1 << 10

// Stats returns the figures of the pool. Other goroutines may get, use and put stacks meanwhile; then
// the figures are of slightly different moments.
//
// Cost: some nanoseconds for each stack, and a system call for each stack on which native code ran since its
// depth was last looked at.
func (p *Pool) Stats() Stats {
	p.usable("Stats")
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{HighWater: p.deepest}
	if p.state == stateClosed {
		return s
	}
	s.Stacks = int(p.initialized.Load() / stackSize)
	s.InUse, s.Live = p.countUsed()
	for i := range uintptr(s.Stacks) {
		x := p.stack(i)
		deep := x.highWater()
		s.HighWater = max(s.HighWater, deep)
		column := bits.Len(uint(max(deep, firstColumn)-1)) - bits.Len(firstColumn-1)
		for column >= len(s.Depths) {
			s.Depths = append(s.Depths, Depth{UpTo: firstColumn << len(s.Depths)})
		}
		s.Depths[column].Stacks++
	}
	// Read in this order, Committed cannot exceed Reserved.
	s.Committed = p.region.Committed()
	s.Reserved = p.region.Reserved()
	return s
}

// Resident asks the kernel how many bytes of the pool are in RAM. The error wraps errors.ErrUnsupported where the
// system does not tell, and guard.ErrClosed after the region of the pool is closed. Any goroutine may call it.
//
// Cost: a system call for each 256 MiB committed.
func (p *Pool) Resident() (int64, error) {
	p.usable("Resident")
	n, err := p.region.Resident()
	if err != nil {
		return 0, fmt.Errorf("stack: %w", err)
	}
	return n, nil
}

// countUsed counts the stacks in use, and the bytes on them. Caller holds p.mu.
func (p *Pool) countUsed() (stacks int, bytes int64) {
	for i := range p.initialized.Load() / stackSize {
		s := p.stack(i)
		if atomic.LoadUint32(&s.head.State) == header.StateUsed {
			stacks++
			bytes += int64(p.end(s) - atomic.LoadUintptr(&s.head.Top))
		}
	}
	return stacks, bytes
}

// count returns the figures of the pool for the registry of regions. ok is false if p.mu is locked: the
// registry must not wait for it, because the pool commits memory while it holds p.mu.
func (p *Pool) count() (stacks int, bytes int64, ok bool) {
	if !p.mu.TryLock() {
		return 0, 0, false
	}
	defer p.mu.Unlock()
	stacks, bytes = p.countUsed()
	return stacks, bytes, true
}

// highWater returns the most bytes that any stack ever had in use. Caller holds p.mu.
func (p *Pool) highWater() (deepest int) {
	for i := range p.initialized.Load() / stackSize {
		deepest = max(deepest, p.stack(i).highWater())
	}
	return deepest
}
