package region

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

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
type look struct {
	prot                 vm.Prot
	kin, hints           uint32
	file, locked, hidden bool
}

func (rec *record) lookAt(off uintptr) (l look) {
	s, committed := rec.committed.at(off)
	if committed {
		l.prot, l.kin = s.prot, s.tag
		_, l.file = rec.files.at(off)
	}
	switch {
	case rec.light || !rec.guards.at(off):
	case rec.secret && committed:
		l.prot, l.hidden = vm.None, true
	default:
		l = look{}
	}
	h, _ := rec.hints.at(off)
	l.hints = h.tag
	_, l.locked = rec.locked.at(off)
	if _, unlocked := rec.unlocked.at(off); unlocked {
		l.hidden = true
	}
	return l
}

// seamsIn counts the seams from lo to hi, both included.
func (rec *record) seamsIn(lo, hi uintptr) int {
	var few [16]uintptr
	return len(rec.seamPoints(lo, hi, few[:0]))
}

// seamPoints returns these seams in points, which is empty, or a longer slice.
func (rec *record) seamPoints(lo, hi uintptr, points []uintptr) []uintptr {
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
	for i, _ := slices.BinarySearch(rec.seams, lo); i < len(rec.seams) && rec.seams[i] <= hi; i++ {
		add(rec.seams[i])
	}
	slices.Sort(points)
	return slices.DeleteFunc(slices.Compact(points), func(x uintptr) bool {
		return !rec.isSeam(x) && rec.lookAt(x-1) == rec.lookAt(x) // before 0 it looks as what is not committed
	})
}

func (rec *record) isSeam(off uintptr) bool {
	_, found := slices.BinarySearch(rec.seams, off)
	return found
}

// addSeams notes that mappings end at some offsets whatever the books say of what is beside them.
func (rec *record) addSeams(offsets ...uintptr) {
	for _, off := range offsets {
		if i, found := slices.BinarySearch(rec.seams, off); !found {
			rec.seams = slices.Insert(rec.seams, i, off)
		}
	}
}

// rebook changes the books of [lo, hi), and takes the mappings that this needs. If it needs too many
// it changes the books back.
func (rec *record) rebook(lo, hi uintptr, change, back func()) error {
	before := rec.seamsIn(lo, hi)
	change()
	n := rec.seamsIn(lo, hi) - before
	if err := takeMappings(n); err != nil {
		back()
		return err
	}
	rec.mappings += n
	return nil
}

// unbook changes the books of [lo, hi), however many mappings that needs: the kernel has them.
func (rec *record) unbook(lo, hi uintptr, change func()) {
	before := rec.seamsIn(lo, hi)
	change()
	n := rec.seamsIn(lo, hi) - before
	mappings.Add(int64(n))
	rec.mappings += n
}

// gapsIn returns the stretches of [lo, hi) that are not committed, each of which is one mapping.
func (rec *record) gapsIn(lo, hi uintptr) (gaps spans) {
	for _, gap := range rec.committed.outside(lo, hi) {
		ends := append(rec.seamPoints(gap.off+1, gap.end-1, nil), gap.end)
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

// kinFor returns the kin of memory that is to be committed in a gap, and whether it is the first of its
// kin. The kernel joins two touched mappings only if they are parts of what once was one, or if one
// grew out of the other: kin. It must have been touched when it was one: see begin.
func (rec *record) kinFor(gap span) (kin uint32, first bool) {
	for _, at := range [...][2]uintptr{{gap.off - 1, gap.off}, {gap.end, gap.end - 1}} {
		beside := rec.lookAt(at[0])
		if beside.kin != 0 && beside.prot == vm.ReadWrite && !beside.file && !beside.locked && !rec.secret && beside.hints == rec.lookAt(at[1]).hints {
			return beside.kin, false
		}
	}
	return rec.newKin(), true
}

// begin makes the kernel take a fresh mapping for one that was touched, without bringing anything into
// RAM. Else the parts that it is split into before it is touched would never be joined again.
func (rec *record) begin(gap span) error {
	if !rec.light && rec.guards.at(gap.off) {
		return nil // all of it is a guard, and nothing is accessible
	}
	p, n := unsafe.Add(rec.base, gap.off), uintptr(PageSize())
	if lightGuards {
		err := vm.Guard(p, n)
		if err == nil {
			return vm.Unguard(p, n)
		}
		if !vm.IsLocked(err) {
			return err
		}
	}
	*(*byte)(p) = 0
	return vm.Empty(p, n)
}

func (rec *record) newKin() uint32 {
	rec.kin++
	return rec.kin
}

// partFiles gives each mapping of a file in [lo, hi) a kin of its own, before it comes to look
// different: what is written to meanwhile stays apart when it looks the same again.
func (rec *record) partFiles(lo, hi uintptr) {
	for _, f := range rec.files.inside(lo, hi) {
		for _, end := range append(rec.seamPoints(f.off+1, f.end-1, nil), f.end) {
			kin := rec.newKin()
			for _, s := range rec.committed.inside(f.off, end) {
				s.tag = kin
				rec.committed = rec.committed.set(s)
			}
			f.off = end
		}
	}
}

// mark puts guard markers over [lo, hi). The kernel refuses them where the process has locked its
// memory (mlockall): there the stretch is unlocked first, which takes mappings.
func (rec *record) mark(lo, hi uintptr) error {
	p, n := unsafe.Add(rec.base, lo), hi-lo
	err := vm.Guard(p, n)
	if !vm.IsLocked(err) {
		return err
	}
	before := slices.Clone(rec.unlocked)
	back := func() { rec.unlocked = before }
	if err := rec.rebook(lo, hi, func() { rec.unlocked = rec.unlocked.set(span{off: lo, end: hi}) }, back); err != nil {
		return err
	}
	if err = vm.Unlock(p, n); err == nil {
		err = vm.Guard(p, n)
	}
	if err != nil {
		rec.unbook(lo, hi, back)
	}
	return err
}

// lockMarked locks again what mark has unlocked, where the guards have gone.
func (rec *record) lockMarked(lo, hi uintptr) {
	for _, s := range rec.unlocked.inside(lo, hi) {
		_ = vm.Lock(unsafe.Add(rec.base, s.off), s.end-s.off) // it brings memory in, if it is committed
		rec.unbook(s.off, s.end, func() { rec.unlocked = rec.unlocked.remove(s.off, s.end) })
	}
}
