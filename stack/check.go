package stack

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// check panics unless the invariants of a stack hold. With -tags invariants it is called after every
// change but those that are inlined.
func (s *Stack) check() {
	sh := s.shapeOf()
	end := sh.end(s)
	floor := end - sh.size
	switch {
	case s.head.State != header.StateIdle && s.head.State != header.StateUsed:
		panic(fmt.Sprintf("state %d", s.head.State))
	case s.head.Block != 0:
		panic("native code runs")
	case s.head.Limit < floor || s.head.Limit > s.head.Top || s.head.Top > end:
		panic(fmt.Sprintf("floor %d, limit %d, top %d, end %d", floor, s.head.Limit, s.head.Top, end))
	case s.lowest < floor || s.lowest > end || uintptr(s.deepest) > sh.size || uintptr(s.held) > sh.size:
		panic(fmt.Sprintf("lowest %d, deepest %d, held %d", s.lowest, s.deepest, s.held))
	case s.head.State == header.StateIdle && (s.head.Top != end || s.head.Limit != s.head.Top || s.frame != s.serial || uintptr(s.clean) > sh.size):
		panic(fmt.Sprintf("idle with top %d of %d, limit %d, frame %d, clean %d", s.head.Top, end, s.head.Limit, s.frame, s.clean))
	}
	zero := s.head.Limit
	if s.head.State == header.StateIdle {
		zero = end - uintptr(s.clean)
	}
	// Only as far as something was there: what was never touched shall not come into RAM.
	for at := max(zero, s.lowest&^7, end-min(sh.size, uintptr(max(s.deepest, s.held)))); at < s.head.Top; at += granule {
		if *(*uint64)(s.at(at)) != 0 {
			panic(fmt.Sprintf("dirty at %d, limit %d, top %d", at, zero, s.head.Top))
		}
	}
}
