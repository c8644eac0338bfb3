package region

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// The kernel keeps what it knows of addresses in mappings, and gives a process vm.max_map_count of
// them. The Go runtime needs some, too, and ends the program when it gets none: so all regions
// together, those in quarantine included, have half.
//
//	┌───────┬───────────┬─────────────┬───────────┬─────────────────────┐
//	│ guard │ committed │ not         │ committed │ not committed, guard│   5 mappings
//	└───────┴───────────┴─────────────┴───────────┴─────────────────────┘
//
// A region is one mapping and one more for each seam: an offset where the two OS pages beside it
// look different to the kernel. They are counted from the books, not asked for. Mostly the kernel has
// joined more than the books say. It has a few more mappings than that where hints, locks, and what is
// protected from every access have changed often: the other half has room for them.
var mappings atomic.Int64

// mostMappings is what all regions together may have. Tests have less.
var mostMappings = int64(vm.Probe().Mappings() / 2)

// takeMappings books n mappings. Where there are too many, the quarantine gives way.
func takeMappings(n int) error {
	for {
		was := mappings.Load()
		if n > 0 && was+int64(n) > mostMappings {
			if releaseOldest() {
				continue
			}
			return fmt.Errorf("%d mappings more than the %d of all regions exceed half of what the process may hold (vm.max_map_count is %d): %w",
				n, was, vm.Probe().MaxMappings, ErrNoMemory)
		}
		if mappings.CompareAndSwap(was, was+int64(n)) {
			return nil
		}
	}
}

// look is all that makes the kernel keep two neighbouring OS pages in different mappings. It is zero
// for what is not committed.
type attributes struct {
	prot                 vm.Prot
	anonVMA, hints       uint32
	file, locked, hidden bool
}

func (rec *record) attributesAt(off uintptr) (l attributes) {
	s, committed := rec.committed.at(off)
	if committed {
		l.prot, l.anonVMA = s.prot, s.tag
		_, l.file = rec.files.at(off)
	}
	switch {
	case rec.light || !rec.guards.at(off):
	case rec.secret && committed:
		l.prot, l.hidden = vm.None, true
	default:
		l = attributes{}
	}
	h, _ := rec.hints.at(off)
	l.hints = h.tag
	_, l.locked = rec.locked.at(off)
	if _, unlocked := rec.unlocked.at(off); unlocked {
		l.hidden = true
	}
	return l
}

// countBoundaries counts the seams from lo to hi, both included.
func (rec *record) countBoundaries(lo, hi uintptr) int {
	var few [16]uintptr
	return len(rec.boundariesIn(lo, hi, few[:0]))
}

// boundariesIn returns these seams in points, which is empty, or a longer slice.
func (rec *record) boundariesIn(lo, hi uintptr, points []uintptr) []uintptr {
	add := func(x uintptr) {
		if x >= lo && x <= hi {
			points = append(points, x)
		}
	}
	from, to := lo-min(lo, 1), hi+1
	collect := func(parts spans) {
		for i := parts.find(from); i < len(parts) && parts[i].off < to; i++ {
			add(parts[i].off)
			add(parts[i].end)
		}
	}
	collect(rec.committed)
	collect(rec.locked)
	collect(rec.files)
	collect(rec.unlocked)
	collect(rec.hints)
	if !rec.light {
		collect(rec.guards.in(from, to))
	}
	for i, _ := slices.BinarySearch(rec.fixed, lo); i < len(rec.fixed) && rec.fixed[i] <= hi; i++ {
		add(rec.fixed[i])
	}
	slices.Sort(points)
	return slices.DeleteFunc(slices.Compact(points), func(x uintptr) bool {
		return !rec.isFixed(x) && rec.attributesAt(x-1) == rec.attributesAt(x) // before 0 it looks as what is not committed
	})
}

func (rec *record) isFixed(off uintptr) bool {
	_, found := slices.BinarySearch(rec.fixed, off)
	return found
}

// fixBoundaries notes that mappings end at some offsets whatever the books say of what is beside them.
func (rec *record) fixBoundaries(offsets ...uintptr) {
	for _, off := range offsets {
		if i, found := slices.BinarySearch(rec.fixed, off); !found {
			rec.fixed = slices.Insert(rec.fixed, i, off)
		}
	}
}

// gapsIn returns the stretches of [lo, hi) that are not committed, each of which is one mapping.
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
