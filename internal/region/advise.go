package region

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Advise is guard.Region.Advise.
func (r *Region) Advise(off, n int, a vm.Advice) error {
	if a > vm.DontNeed {
		return r.errorf("advise", fmt.Errorf("%d is not an advice", a))
	}
	return r.changeAny("advise", off, n, func(rec *record, lo, hi uintptr) error {
		b := rec.backing
		switch {
		case a == vm.DontNeed && b != nil && (b.shared || b.prot == vm.Read):
			return control(b.f, func(fd int) error { return vm.Drop(unsafe.Add(rec.base, lo), hi-lo, fd, b.at+int64(lo)) })
		case a == vm.WillNeed, a == vm.DontNeed:
			return vm.Advise(unsafe.Add(rec.base, lo), hi-lo, a)
		}
		return rec.advise(lo, hi, a)
	})
}

// hintsWith returns the hints of a mapping, a bit each, after one more is given.
func hintsWith(hints uint32, a vm.Advice) uint32 {
	switch a {
	case vm.Normal, vm.Sequential, vm.Random:
		hints &^= 1<<vm.Sequential | 1<<vm.Random
	case vm.HugePages, vm.NoHugePages:
		hints &^= 1<<vm.HugePages | 1<<vm.NoHugePages
	}
	if a == vm.Normal {
		return hints
	}
	return hints | 1<<a
}

// advise gives a hint that mappings keep to [lo, hi).
func (rec *record) advise(lo, hi uintptr, a vm.Advice) error {
	restore := rec.saveBooks(lo, hi)
	err := rec.changeBooks(lo, hi, func() {
		rec.separateFiles(lo, hi)
		rec.fixBoundaries(lo, hi) // the kernel may not join it again
		stretches := append(rec.hints.outside(lo, hi), rec.hints.inside(lo, hi)...)
		rec.hints = rec.hints.remove(lo, hi)
		for _, s := range stretches {
			if s.tag = hintsWith(s.tag, a); s.tag != 0 {
				rec.hints = rec.hints.set(s)
			}
		}
	}, restore)
	if err != nil {
		return err
	}
	if err := vm.Advise(unsafe.Add(rec.base, lo), hi-lo, a); err != nil {
		rec.correctBooks(lo, hi, restore)
		return err
	}
	return nil
}

// adviseAgain gives a fresh reservation the hints that the books have for it.
func (rec *record) adviseAgain(lo, hi uintptr) {
	for _, s := range rec.hints.inside(lo, hi) {
		for a := range vm.Advice(32) {
			if s.tag>>a&1 != 0 {
				_ = vm.Advise(unsafe.Add(rec.base, s.off), s.end-s.off, a)
			}
		}
	}
}
