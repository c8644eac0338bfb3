package stack

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// check panics unless the invariants of a pool hold that nobody uses meanwhile; taken are the stacks
// in use.
func (p *Pool) check(taken map[*Stack]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.fresh.Load() / stackSize
	if fresh > p.ready || p.ready > p.guarded || p.guarded > p.most {
		panic(fmt.Sprintf("fresh %d, ready %d, guarded %d, most %d", fresh, p.ready, p.guarded, p.most))
	}
	seen := map[uint32]bool{}
	see := func(i uint32) {
		s := p.stack(uintptr(i))
		if seen[i] || uintptr(i) >= fresh || s.head.State != header.StateIdle || taken[s] {
			panic(fmt.Sprintf("stack %d is not idle once: seen %v, state %d, taken %v, fresh %d", i, seen[i], s.head.State, taken[s], fresh))
		}
		seen[i] = true
		s.check()
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
		s.check()
	}
	if len(seen)+len(taken) != int(fresh) {
		panic(fmt.Sprintf("%d idle and %d in use are not %d", len(seen), len(taken), fresh))
	}
}
