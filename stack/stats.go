package stack

import (
	"math/bits"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// Stats are a pool's figures at one moment, in bytes where nothing else is said.
type Stats struct {
	Reserved  int64 // addresses claimed, guards included
	Committed int64 // charged to the budget: whole stacks, because they can be used whole, and their guards
	Resident  int64 // in RAM; -1 where the system does not tell
	Live      int64 // on the stacks now
	HighWater int   // the most that any stack ever held, given back or not

	Stacks int // that were ever handed out, but for those that Purge gave back
	InUse  int // of these, not put yet

	// Depths counts these stacks by the most that each ever held.
	Depths []Depth
}

// Depth is a column of a histogram.
type Depth struct {
	UpTo   int // bytes: a power of two; more than half of it was used, but for the first column
	Stacks int
}

// leastDepth is the first column's.
const leastDepth = 1 << 10

// Stats returns the figures while others get, use and put stacks. It takes some nanoseconds for each
// stack, a system call for those where native code ran lately, and the time to count resident pages.
func (p *Pool) Stats() Stats {
	p.usable("Stats")
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{HighWater: p.deepest}
	if p.state == closed {
		return s
	}
	s.Stacks = int(p.fresh.Load() / stackSize)
	s.InUse, s.Live = p.countUsed()
	for i := range uintptr(s.Stacks) {
		x := p.stack(i)
		deep := x.highWater()
		s.HighWater = max(s.HighWater, deep)
		column := bits.Len(uint(max(deep, leastDepth)-1)) - bits.Len(leastDepth-1)
		for column >= len(s.Depths) {
			s.Depths = append(s.Depths, Depth{UpTo: leastDepth << len(s.Depths)})
		}
		s.Depths[column].Stacks++
	}
	// In this order what is resident is committed, and what is committed reserved.
	var err error
	if s.Resident, err = p.region.Resident(); err != nil {
		s.Resident = -1
	}
	s.Committed = p.region.Committed()
	s.Reserved = p.region.Reserved()
	return s
}

// countUsed counts the stacks that were not put yet, and the bytes on them. p.mu is held.
func (p *Pool) countUsed() (stacks int, bytes int64) {
	for i := range p.fresh.Load() / stackSize {
		s := p.stack(i)
		if atomic.LoadUint32(&s.head.State) == header.StateUsed {
			stacks++
			bytes += int64(p.end(s) - atomic.LoadUintptr(&s.head.Top))
		}
	}
	return stacks, bytes
}

// count is for the registry, which must not wait for p.mu: memory is committed under it.
func (p *Pool) count() (stacks int, bytes int64, ok bool) {
	if !p.mu.TryLock() {
		return 0, 0, false
	}
	defer p.mu.Unlock()
	stacks, bytes = p.countUsed()
	return stacks, bytes, true
}

// highWater is the most that any stack ever held. p.mu is held.
func (p *Pool) highWater() (deepest int) {
	for i := range p.fresh.Load() / stackSize {
		deepest = max(deepest, p.stack(i).highWater())
	}
	return deepest
}
