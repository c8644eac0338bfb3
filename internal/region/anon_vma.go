package region

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// anonVMAFor returns the kin of memory that is to be committed in a gap, and whether it is the first of its
// kin. The kernel joins two touched mappings only if they are parts of what once was one, or if one
// grew out of the other: kin. It must have been touched when it was one: see begin.
func (rec *record) anonVMAFor(gap span) (anonVMA uint32, first bool) {
	for _, at := range [...][2]uintptr{{gap.off - 1, gap.off}, {gap.end, gap.end - 1}} {
		beside := rec.attributesAt(at[0])
		if beside.anonVMA != 0 && beside.prot == vm.ReadWrite && !beside.file && !beside.locked && !rec.secret && beside.hints == rec.attributesAt(at[1]).hints {
			return beside.anonVMA, false
		}
	}
	return rec.newAnonVMA(), true
}

// begin makes the kernel take a fresh mapping for one that was touched, without bringing anything into
// RAM. Else the parts that it is split into before it is touched would never be joined again.
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

func (rec *record) newAnonVMA() uint32 {
	rec.anonVMA++
	return rec.anonVMA
}

// separateFiles gives each mapping of a file in [lo, hi) a kin of its own, before it comes to look
// different: what is written to meanwhile stays apart when it looks the same again.
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
