package region

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// mappings counts the mappings of all regions, those in quarantine included.
//
// The kernel describes addresses in mappings, and allows a process vm.max_map_count of them. The Go runtime needs
// some, too, and ends the program when it gets none: so all regions together take at most half.
//
//	┌───────┬───────────┬─────────────┬───────────┬─────────────────────┐
//	│ guard │ committed │ not         │ committed │ not committed, guard│   5 mappings
//	└───────┴───────────┴─────────────┴───────────┴─────────────────────┘
//
// A region takes one mapping, and one more for each boundary: an offset between two OS pages that the kernel cannot
// keep in one mapping, because their attributes differ. Boundaries are counted from the books, not asked for. Mostly
// the kernel has joined more mappings than the books say. It has a few more where hints, locks and Protect(None) have
// changed often: the other half has room for them.
var mappings atomic.Int64

// mostMappings bounds the mappings of all regions together. Tests set it lower.
var mostMappings = int64(vm.Probe().Mappings() / 2)

// takeMappings counts n mappings more. Where there are too many, the quarantine gives way.
func takeMappings(n int) error {
	for {
		was := mappings.Load()
		if n > 0 && was+int64(n) > mostMappings {
			if releaseOldest() {
				continue
			}
			return fmt.Errorf("all regions together take %d mappings, and %d more exceed half of what the process may hold (vm.max_map_count is %d): %w",
				was, n, vm.Probe().MaxMappings, ErrNoMemory)
		}
		if mappings.CompareAndSwap(was, was+int64(n)) {
			return nil
		}
	}
}

// attributes are the properties of an OS page by which the kernel keeps it in another mapping than its neighbour. They
// are zero for uncommitted memory without hints.
type attributes struct {
	prot                 vm.Prot
	anonVMA, hints       uint32
	file, locked, hidden bool
}

// attributesAt returns the attributes that the books have for the OS page at off.
func (rec *record) attributesAt(off uintptr) (a attributes) {
	s, committed := rec.committed.at(off)
	if committed {
		a.prot, a.anonVMA = s.prot, s.tag
		_, a.file = rec.files.at(off)
	}
	switch {
	case rec.light || !rec.guards.at(off):
	case rec.secret && committed:
		a.prot, a.hidden = vm.None, true
	default:
		a = attributes{}
	}
	h, _ := rec.hints.at(off)
	a.hints = h.tag
	_, a.locked = rec.locked.at(off)
	if _, unlocked := rec.unlocked.at(off); unlocked {
		a.hidden = true
	}
	return a
}

// countBoundaries returns the number of boundaries from lo to hi, both included.
func (rec *record) countBoundaries(lo, hi uintptr) int {
	var few [16]uintptr
	return len(rec.boundariesIn(lo, hi, few[:0]))
}

// boundariesIn returns the boundaries from lo to hi, both included, sorted. It appends them to points, which is empty.
func (rec *record) boundariesIn(lo, hi uintptr, points []uintptr) []uintptr {
	add := func(x uintptr) {
		if x >= lo && x <= hi {
			points = append(points, x)
		}
	}
	from, to := lo-min(lo, 1), hi+1
	ends := func(parts spans) {
		for i := parts.find(from); i < len(parts) && parts[i].off < to; i++ {
			add(parts[i].off)
			add(parts[i].end)
		}
	}
	ends(rec.committed)
	ends(rec.locked)
	ends(rec.files)
	ends(rec.unlocked)
	ends(rec.hints)
	if !rec.light {
		ends(rec.guards.in(from, to))
	}
	for i, _ := slices.BinarySearch(rec.fixed, lo); i < len(rec.fixed) && rec.fixed[i] <= hi; i++ {
		add(rec.fixed[i])
	}
	slices.Sort(points)
	return slices.DeleteFunc(slices.Compact(points), func(x uintptr) bool {
		return !rec.isFixed(x) && rec.attributesAt(x-1) == rec.attributesAt(x) // below offset 0 the attributes are zero
	})
}

// isFixed tells whether off is a fixed boundary.
func (rec *record) isFixed(off uintptr) bool {
	_, found := slices.BinarySearch(rec.fixed, off)
	return found
}

// fixBoundaries notes that mappings of the kernel end at some offsets, whatever the books say about the OS pages beside them.
func (rec *record) fixBoundaries(offsets ...uintptr) {
	for _, off := range offsets {
		if i, found := slices.BinarySearch(rec.fixed, off); !found {
			rec.fixed = slices.Insert(rec.fixed, i, off)
		}
	}
}

// gapsIn returns the uncommitted stretches of [lo, hi), split so that each lies in one mapping.
func (rec *record) gapsIn(lo, hi uintptr) (gaps spans) {
	for _, gap := range rec.committed.outside(lo, hi) {
		ends := append(rec.boundariesIn(gap.off+1, gap.end-1, nil), gap.end)
		if !rec.light {
			for _, g := range rec.guards.in(gap.off, gap.end) {
				ends = append(ends, g.off, g.end)
			}
			slices.Sort(ends)
		}
		off := gap.off
		for _, end := range ends {
			if end > off {
				gaps = append(gaps, span{off: off, end: end})
				off = end
			}
		}
	}
	return gaps
}
