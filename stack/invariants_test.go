package stack

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// checkInvariants panics unless the invariants of a pool hold; taken are the stacks in use. No other
// goroutine may use the pool meanwhile.
func (p *Pool) checkInvariants(taken map[*Stack]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.initialized.Load() / stackSize
	if count > p.committed || p.committed > p.guarded || p.guarded > p.max {
		panic(fmt.Sprintf("initialized %d, committed %d, guarded %d, max %d", count, p.committed, p.guarded, p.max))
	}
	seen := map[uint32]bool{}
	see := func(i uint32) {
		s := p.stack(uintptr(i))
		if seen[i] || uintptr(i) >= count || s.head.State != header.StateIdle || taken[s] {
			panic(fmt.Sprintf("stack %d is not idle once: seen %v, state %d, taken %v, count %d", i, seen[i], s.head.State, taken[s], count))
		}
		seen[i] = true
		s.checkInvariants()
	}
	for _, i := range p.idle {
		see(i)
	}
	for c := range p.caches.All() {
		for _, i := range c.stacks[:c.n] {
			see(i)
		}
	}
	for s := range taken {
		if s.head.State != header.StateUsed {
			panic("a stack in use has state " + fmt.Sprint(s.head.State))
		}
		s.checkInvariants()
	}
	if len(seen)+len(taken) != int(count) {
		panic(fmt.Sprintf("%d idle and %d in use are not %d", len(seen), len(taken), count))
	}
}
