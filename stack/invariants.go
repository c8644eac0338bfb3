package stack

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// checkInvariants panics unless the invariants of a stack hold. With -tags invariants it is called after
// every change of a stack, except for the changes that Push and New make inline.
func (s *Stack) checkInvariants() {
	l := s.layoutOf()
	end := l.end(s)
	floor := end - l.size
	switch {
	case s.head.State != header.StateIdle && s.head.State != header.StateUsed:
		panic(fmt.Sprintf("state %d", s.head.State))
	case s.head.Block != 0:
		panic("native code runs")
	case s.head.Limit < floor || s.head.Limit > s.head.Top || s.head.Top > end:
		panic(fmt.Sprintf("floor %d, limit %d, top %d, end %d", floor, s.head.Limit, s.head.Top, end))
	case s.lowest < floor || s.lowest > end || uintptr(s.deepest) > l.size || uintptr(s.held) > l.size:
		panic(fmt.Sprintf("lowest %d, deepest %d, held %d", s.lowest, s.deepest, s.held))
	case s.head.State == header.StateIdle && (s.head.Top != end || s.head.Limit != s.head.Top || s.frame != s.serial || uintptr(s.clean) > l.size):
		panic(fmt.Sprintf("idle with top %d of %d, limit %d, frame %d, clean %d", s.head.Top, end, s.head.Limit, s.frame, s.clean))
	}
	zero := s.head.Limit
	if s.head.State == header.StateIdle {
		zero = end - uintptr(s.clean)
	}
	// The check reads only as deep as the stack was used, so that it brings no new memory into RAM.
	for at := max(zero, s.lowest&^7, end-min(l.size, uintptr(max(s.deepest, s.held)))); at < s.head.Top; at += granule {
		if *(*uint64)(s.at(at)) != 0 {
			panic(fmt.Sprintf("dirty at %d, limit %d, top %d", at, zero, s.head.Top))
		}
	}
}
