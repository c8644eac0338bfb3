package region

import (
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

var errNotCommitted = errors.New("not all of it is committed")

// Protect is guard.Region.Protect.
func (r *Region) Protect(off, n int, prot vm.Prot) error {
	if prot > vm.ReadExecute {
		return r.errorf("protect", fmt.Errorf("%d is not a protection", prot))
	}
	if err := r.protectable(off, n, prot); err != nil {
		return r.errorf("protect", err)
	}
	return r.changeAny("protect", off, n, func(rec *record, lo, hi uintptr) error {
		if !rec.committed.covers(lo, hi) {
			return errNotCommitted
		}
		restore := rec.saveBooks(lo, hi)
		err := rec.changeBooks(lo, hi, func() {
			rec.separateFiles(lo, hi)
			for _, s := range rec.committed.inside(lo, hi) {
				rec.committed = rec.committed.set(span{s.off, s.end, prot, s.tag})
			}
			// The kernel joins it with uncommitted memory beside it, which has its anon_vma from then on.
			for _, at := range [...][2]uintptr{{lo - 1, lo}, {hi, hi}} {
				if _, committed := rec.committed.at(at[0]); prot == vm.None && !committed {
					rec.fixBoundaries(at[1])
				}
			}
		}, restore)
		if err != nil {
			return err
		}
		if err := rec.protect(lo, hi, prot); err != nil {
			rec.correctBooks(lo, hi, restore)
			_ = rec.protectAsBooked(lo, hi)
			return err
		}
		return nil
	})
}

// protectAsBooked sets the protections of [lo, hi) in the kernel to those in the books.
func (rec *record) protectAsBooked(lo, hi uintptr) error {
	for _, s := range rec.committed.inside(lo, hi) {
		if err := rec.protect(s.off, s.end, s.prot); err != nil {
			return err
		}
	}
	return nil
}
