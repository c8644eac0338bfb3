package stack

import (
	"fmt"
)

// check panics unless the invariants of a stack hold that nobody uses meanwhile.
func (s *Stack) check() {
	sh := s.shapeOf()
	end := sh.end(s)
	floor := end - sh.size
	switch {
	case s.state != idle && s.state != used:
		panic(fmt.Sprintf("state %d", s.state))
	case s.block != 0:
		panic("native code runs")
	case s.limit < floor || s.limit > s.top || s.top > end:
		panic(fmt.Sprintf("floor %d, limit %d, top %d, end %d", floor, s.limit, s.top, end))
	case s.lowest < floor || s.lowest > end || uintptr(s.deepest) > sh.size || uintptr(s.held) > sh.size:
		panic(fmt.Sprintf("lowest %d, deepest %d, held %d", s.lowest, s.deepest, s.held))
	case s.state == idle && (s.top != end || s.limit != s.top || s.frame != 0 || uintptr(s.clean) > sh.size):
		panic(fmt.Sprintf("idle with top %d of %d, limit %d, frame %d, clean %d", s.top, end, s.limit, s.frame, s.clean))
	}
	zero := s.limit
	if s.state == idle {
		zero = end - uintptr(s.clean)
	}
	// Only as far as something was there: what was never touched shall not come into RAM.
	for at := max(zero, s.lowest&^7, end-min(sh.size, uintptr(max(s.deepest, s.held)))); at < s.top; at += granule {
		if *(*uint64)(s.at(at)) != 0 {
			panic(fmt.Sprintf("dirty at %d, limit %d, top %d", at, zero, s.top))
		}
	}
}

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
		if seen[i] || uintptr(i) >= fresh || s.state != idle || taken[s] {
			panic(fmt.Sprintf("stack %d is not idle once: seen %v, state %d, taken %v, fresh %d", i, seen[i], s.state, taken[s], fresh))
		}
		seen[i] = true
		s.check()
	}
	for _, i := range p.idle {
		see(i)
	}
	if all := p.fronts.Load(); all != nil {
		for i := range *all {
			f := &(*all)[i]
			for _, i := range f.stacks[:f.n] {
				see(i)
			}
		}
	}
	for s := range taken {
		if s.state != used {
			panic("a stack in use has state " + fmt.Sprint(s.state))
		}
		s.check()
	}
	if len(seen)+len(taken) != int(fresh) {
		panic(fmt.Sprintf("%d idle and %d in use are not %d", len(seen), len(taken), fresh))
	}
}
