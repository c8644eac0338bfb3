package region

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Lock is guard.Region.Lock.
func (r *Region) Lock(off, n int) error {
	return r.changeAny("lock", off, n, func(rec *record, lo, hi uintptr) error {
		if !rec.committed.covers(lo, hi) {
			return errNotCommitted
		}
		if rec.guards.bytes(lo, hi) > 0 {
			return errors.New("part of it is guarded")
		}
		for _, s := range rec.committed.inside(lo, hi) {
			if s.prot == vm.None {
				return errors.New("part of it is protected from every access")
			}
		}
		return rec.lock(lo, hi)
	})
}

// lock locks [lo, hi), which is committed, into RAM. After an error some of it may be locked, and the books say that all is.
func (rec *record) lock(lo, hi uintptr) error {
	err := rec.changeBooks(lo, hi, func() {
		rec.separateFiles(lo, hi)
		if !rec.secret {
			rec.fixBoundaries(lo, hi) // the kernel may not join it again
		}
		rec.locked = rec.locked.set(span{off: lo, end: hi})
	}, rec.saveBooks(lo, hi))
	if err != nil {
		return err
	}
	err = vm.Lock(unsafe.Add(rec.base, lo), hi-lo) // after an error some of it may be locked
	if vm.IsLockRefused(err) {
		return fmt.Errorf("lock into RAM: %v: RLIMIT_MEMLOCK is %d: %w", err, vm.Probe().LockedMemory, ErrNoMemory)
	}
	return err
}

// Unlock is guard.Region.Unlock.
func (r *Region) Unlock(off, n int) error {
	return r.changeAny("unlock", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.secret {
			return errSecret
		}
		locked := rec.locked.inside(lo, hi)
		back := func() { rec.locked = rec.locked.setAll(locked) }
		if err := rec.changeBooks(lo, hi, func() { rec.locked = rec.locked.remove(lo, hi) }, back); err != nil {
			return err
		}
		for _, s := range locked { // not the parts that mlockall has locked
			if err := vm.Unlock(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
				rec.correctBooks(lo, hi, back)
				return err
			}
		}
		return nil
	})
}
