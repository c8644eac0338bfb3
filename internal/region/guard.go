package region

import (
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Guard is guard.Region.Guard.
func (r *Region) Guard(off, n int) error {
	return r.change("guard", off, n, func(rec *record, lo, hi uintptr) error {
		if err := rec.guardable(lo, hi); err != nil {
			return err
		}
		if err := rec.wipe(lo, hi); err != nil {
			_ = rec.protectAsBooked(lo, hi)
			return err
		}
		missing := rec.guards.outside(lo, hi)
		back := func() { rec.guards.single = rec.guards.single.removeAll(missing) }
		if err := rec.changeBooks(lo, hi, func() { rec.guards.set(lo, hi) }, back); err != nil {
			_ = rec.protectAsBooked(lo, hi)
			return err
		}
		if err := rec.guard(lo, hi); err != nil {
			rec.correctBooks(lo, hi, back)
			for _, s := range missing {
				rec.unguard(s.off, s.end)
			}
			return err
		}
		return nil
	})
}

// Unguard is guard.Region.Unguard.
func (r *Region) Unguard(off, n int) error {
	return r.change("unguard", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.guards.bytes(lo, hi) == 0 {
			return nil
		}
		if rec.light {
			for _, s := range rec.files.outside(lo, hi) { // Linux 6.13 refuses where files are mapped
				if err := vm.Unguard(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
					for _, g := range rec.guards.in(lo, hi) { // some are gone already
						_ = rec.guard(g.off, g.end)
					}
					return err
				}
			}
			rec.guards.remove(lo, hi)
			rec.relock(lo, hi)
			return nil
		}
		before := rec.guards
		before.single = slices.Clone(before.single)
		back := func() { rec.guards = before }
		if err := rec.changeBooks(lo, hi, func() { rec.guards.remove(lo, hi) }, back); err != nil {
			return err
		}
		if err := rec.protectAsBooked(lo, hi); err != nil {
			rec.correctBooks(lo, hi, back)
			for _, s := range before.in(lo, hi) {
				_ = vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, vm.None)
			}
			return err
		}
		return nil
	})
}
