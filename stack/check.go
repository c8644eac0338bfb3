package stack

import "fmt"

// check panics unless the invariants of a stack hold. With -tags invariants it is called after every
// change but those that are inlined.
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
	case s.state == idle && (s.top != end || s.limit != s.top || s.frame != s.serial || uintptr(s.clean) > sh.size):
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
