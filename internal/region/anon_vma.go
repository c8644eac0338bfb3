package region

import (
	"sync/atomic"
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
	if off := alignUp(gap.off, hugeAlign); off+hugeAlign <= gap.end && rec.hasHugePages(gap.off) {
		return rec.touchHugePage(off)
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

// hasHugePages tells whether the kernel may back the memory at off with huge pages because of a hint.
func (rec *record) hasHugePages(off uintptr) bool {
	h, ok := rec.hints.at(off)
	mode := vm.Probe().HugePageMode
	return ok && h.tag>>vm.HugePages&1 != 0 && (mode == "madvise" || mode == "always")
}

// touchHugePage is touchMapping where huge pages fit, in 2 MiB of memory at off. A guard marker would leave a page table,
// and with it no huge page could form there. A read brings in the kernel's huge page of zeroes, which takes no RAM and
// can be taken away without a trace. Where the kernel serves small pages all the same, the mapping is not touched:
// then the kernel may have a few mappings more than the books say.
func (rec *record) touchHugePage(off uintptr) error {
	p := unsafe.Add(rec.base, off)
	atomic.LoadUint32((*uint32)(p)) // which the compiler does not leave out
	if err := vm.EmptyUnlocked(p, hugeAlign); !vm.IsLocked(err) {
		return err
	}
	return nil // the process keeps it in RAM
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
