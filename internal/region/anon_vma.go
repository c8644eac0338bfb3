package region

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// anonVMAFor returns the number of the anon_vma that memory committed in a gap will belong to, and whether it is the first
// memory of that.
//
// The kernel joins two touched mappings only if they have the same anon_vma: if both were split from one mapping that
// was touched, or one grew into the other. So committed stretches carry a number, and only stretches with the same
// number are counted as one mapping.
func (rec *record) anonVMAFor(gap span) (anonVMA uint32, first bool) {
	for _, at := range [...][2]uintptr{{gap.off - 1, gap.off}, {gap.end, gap.end - 1}} {
		beside := rec.attributesAt(at[0])
		if beside.anonVMA != 0 && beside.prot == vm.ReadWrite && !beside.file && !beside.locked && !rec.secret && beside.hints == rec.attributesAt(at[1]).hints {
			return beside.anonVMA, false
		}
	}
	return rec.newAnonVMA(), true
}

// touchMapping makes the kernel treat a fresh mapping as touched, so that it gets its anon_vma, without bringing memory
// into RAM. Otherwise parts that it is split into before the first touch would never be joined again.
func (rec *record) touchMapping(gap span) error {
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

// newAnonVMA returns a number that no stretch of the region has.
func (rec *record) newAnonVMA() uint32 {
	rec.anonVMA++
	return rec.anonVMA
}

// separateFiles gives each mapping of a file in [lo, hi) a number of its own, before its attributes change: a part that
// is written to meanwhile stays a mapping of its own when the attributes are equal again.
func (rec *record) separateFiles(lo, hi uintptr) {
	for _, f := range rec.files.inside(lo, hi) {
		for _, end := range append(rec.boundariesIn(f.off+1, f.end-1, nil), f.end) {
			anonVMA := rec.newAnonVMA()
			for _, s := range rec.committed.inside(f.off, end) {
				s.tag = anonVMA
				rec.committed = rec.committed.set(s)
			}
			f.off = end
		}
	}
}
