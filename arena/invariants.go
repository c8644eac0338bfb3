package arena

import (
	"fmt"
	"unsafe"
)

// check panics if an invariant of the arena does not hold. In builds with -tags invariants it is called after
// changes.
func (a *Arena) check() {
	if a.state != stateOpen {
		return
	}
	holds := func(ok bool, what string) {
		if !ok {
			panic(fmt.Sprintf("arena: invariant broken: %s; top %d, limit %d, ready %d, dirty %d, committed %d, ceiling %d, tail %d, region %d",
				what, a.top, a.limit, a.ready, a.dirty, a.committed, a.ceiling, a.tail, a.region.Size()))
		}
	}
	holds(first <= a.top && a.top <= a.ready && a.ready <= a.ceiling, "first ≤ top ≤ ready ≤ ceiling")
	holds(a.top%granule == 0, "top is aligned")
	holds(a.tail <= a.top, "tail ≤ top")
	holds(a.limit == 0 || a.limit == a.ready, "limit is ready or 0")
	holds(a.committed <= min(alignUp(a.ceiling, a.config.unit()), uintptr(a.region.Size())), "committed ≤ ceiling")
	if a.committed == 0 {
		holds(a.ready == first && a.dirty == first, "nothing is ready where nothing is committed")
		return
	}
	holds(a.ready <= a.committed && a.dirty <= a.committed, "ready and dirty ≤ committed")
	holds(a.header != nil || int64(a.committed) == a.region.Committed(), "the region has the same figure")
	holds(a.zero(a.top, a.ready), "[top, ready) is zero")
	holds(a.zero(max(a.top, a.dirty), a.committed), "what was never used is zero")
}

// zero tells whether memory reads as zero. It reads all of a small stretch and both ends of a large one,
// because off-by-some errors are at the ends, and reading brings memory into RAM.
func (a *Arena) zero(from, to uintptr) bool {
	const most = 16 << 10
	if to > from && to-from > 2*most {
		return a.zero(from, from+most) && a.zero(to-most, to)
	}
	for ; from < to; from += granule {
		if *(*uint64)(unsafe.Add(a.base, from)) != 0 {
			return false
		}
	}
	return true
}
