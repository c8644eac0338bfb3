package guard

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// span checks a range that a caller gave and turns it into offsets.
func (r *Region) span(op string, off, n int) (uintptr, uintptr, error) {
	page := vm.Probe().PageSize
	switch {
	case off < 0 || n < 0 || off > r.size || n > r.size-off:
		return 0, 0, r.errorf(op, fmt.Errorf("offset %d and length %d are not inside its %d bytes", off, n, r.size))
	case off%page != 0 || n%page != 0:
		return 0, 0, r.errorf(op, fmt.Errorf("offset %d and length %d must be multiples of the OS page of %d bytes", off, n, page))
	}
	return uintptr(off), uintptr(off + n), nil
}

// change runs f on a checked, not empty range of the open region, under its lock.
func (r *Region) change(op string, off, n int, f func(rec *record, lo, hi uintptr) error) error {
	lo, hi, err := r.span(op, off, n)
	if err != nil {
		return err
	}
	rec := r.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.state != open {
		return r.errorf(op, ErrClosed)
	}
	if lo == hi {
		return nil
	}
	if err := f(rec, lo, hi); err != nil {
		return r.errorf(op, noMemory(err))
	}
	return nil
}

// noMemory makes the kernel's out-of-memory error wrap ErrNoMemory, naming the
// limit that is behind it as far as can be told.
func noMemory(err error) error {
	if !vm.IsOutOfMemory(err) {
		return err
	}
	v := vm.Probe()
	return fmt.Errorf("%v (vm.max_map_count is %d, overcommit is %q): %w", err, v.MaxMappings, v.Overcommit, ErrNoMemory)
}

// Commit makes [off, off+n) usable: readable, writable, zeroed, charged to the budget. What
// is committed already stays as it is, and is charged once. The error wraps
// ErrNoMemory where the budget or the kernel refuses; then nothing has changed. Nothing of what is
// not committed may be guarded in a Secret region.
func (r *Region) Commit(off, n int) error {
	lo, hi, err := r.span("commit", off, n)
	if err != nil {
		return err
	}
	for {
		need := r.missing(lo, hi)
		// Charged without the lock, because OnSoft may come back to this region.
		if need > 0 {
			if err := charge(int64(need), r.deferOnSoft); err != nil {
				if r.missing(lo, hi) < need {
					continue // somebody committed some of it meanwhile
				}
				return r.errorf("commit", err)
			}
		}
		enough := true
		used := uintptr(0)
		err := r.change("commit", off, n, func(rec *record, lo, hi uintptr) error {
			missing := hi - lo - rec.committed.bytes(lo, hi)
			if missing > need {
				enough = false // somebody decommitted meanwhile
				return nil
			}
			if err := rec.commit(lo, hi, r.prefault); err != nil {
				return err
			}
			used = missing
			rec.charge.Add(int64(missing))
			return nil
		})
		if used < need {
			refund(int64(need - used))
		}
		if err != nil || enough {
			return err
		}
	}
}

func (r *Region) missing(lo, hi uintptr) uintptr {
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	if r.rec.state != open {
		return 0 // change says so
	}
	return hi - lo - r.rec.committed.bytes(lo, hi)
}

// commit makes what is missing in [lo, hi) usable, all of it or nothing.
func (rec *record) commit(lo, hi uintptr, prefault bool) error {
	gaps := rec.committed.outside(lo, hi)
	for i, gap := range gaps {
		err := rec.protect(gap.off, gap.end, vm.ReadWrite)
		if err == nil {
			err = rec.lockSecret(gap.off, gap.end)
		}
		if err == nil && prefault {
			err = rec.populate(gap.off, gap.end)
		}
		if err != nil {
			for _, done := range gaps[:i+1] {
				_ = rec.hide(done.off, done.end)
			}
			return err
		}
	}
	for _, gap := range gaps {
		rec.committed = rec.committed.set(gap.off, gap.end, vm.ReadWrite)
	}
	rec.used = max(rec.used, hi)
	return nil
}

// unguarded returns what a change of protection must be applied to in [lo, hi): all
// of it where guards are markers, which survive; else what is between the
// PROT_NONE pages that stand for guards.
func (rec *record) unguarded(lo, hi uintptr) spans {
	if rec.light {
		return spans{{off: lo, end: hi}}
	}
	return rec.guards.outside(lo, hi)
}

func (rec *record) protect(lo, hi uintptr, prot vm.Prot) error {
	for _, s := range rec.unguarded(lo, hi) {
		if err := vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, prot); err != nil {
			return err
		}
	}
	return nil
}

// populate brings [lo, hi) into RAM, but for guards: the kernel refuses those.
func (rec *record) populate(lo, hi uintptr) error {
	for _, s := range rec.guards.outside(lo, hi) {
		if err := populate(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
			return err
		}
	}
	return nil
}

func populate(p unsafe.Pointer, n uintptr) error {
	if vm.Probe().Populate {
		return vm.Populate(p, n)
	}
	// Zero over zero: it is the write that brings the page in.
	for off := uintptr(0); off < n; off += uintptr(vm.Probe().PageSize) {
		*(*byte)(unsafe.Add(p, off)) = 0
	}
	return nil
}

// hide makes [lo, hi) inaccessible and gives its memory back.
func (rec *record) hide(lo, hi uintptr) error {
	if err := rec.wipe(lo, hi); err != nil {
		return err
	}
	p, n := unsafe.Add(rec.base, lo), hi-lo
	if err := vm.Protect(p, n, vm.None); err != nil {
		return err
	}
	if rec.locked.bytes(lo, hi) > 0 {
		if err := vm.Unlock(p, n); err != nil {
			return err
		}
		rec.locked = rec.locked.remove(lo, hi)
	}
	if err := rec.unmapFiles(lo, hi); err != nil {
		return err
	}
	return vm.Discard(p, n)
}

// Decommit gives the memory of [off, off+n) back and refunds the budget. The
// contents are lost; a touch faults until Commit, after which it reads zero. What is not committed
// is left alone. Guards inside stay.
func (r *Region) Decommit(off, n int) error {
	var freed uintptr
	err := r.change("decommit", off, n, func(rec *record, lo, hi uintptr) error {
		for _, s := range rec.committed.inside(lo, hi) {
			if err := rec.hide(s.off, s.end); err != nil {
				// As it was before, but for contents that may be gone already.
				_ = rec.protect(s.off, s.end, s.prot)
				rec.lockAgain(s.off, s.end)
				return err
			}
			rec.committed = rec.committed.remove(s.off, s.end)
			rec.charge.Add(-int64(s.end - s.off))
			freed += s.end - s.off
		}
		return nil
	})
	refund(int64(freed))
	return err
}

// Discard gives the memory of [off, off+n) back without decommitting it: all of it must be
// committed and readable and writable, stays so, stays charged, and reads zero. It is one system
// call and splits no mapping, whatever the range. Guards inside stay. What is secret is overwritten
// and stays in RAM.
func (r *Region) Discard(off, n int) error {
	return r.change("discard", off, n, func(rec *record, lo, hi uintptr) error {
		switch parts := rec.committed.inside(lo, hi); {
		case len(parts) != 1 || parts[0] != span{lo, hi, vm.ReadWrite}:
			return errors.New("not all of it is committed, readable and writable")
		case rec.secret:
			return rec.wipe(lo, hi)
		case rec.locked.bytes(lo, hi) > 0:
			return errLocked
		case rec.files.bytes(lo, hi) > 0: // they would show the file again
			return errFile
		}
		for _, s := range rec.unguarded(lo, hi) {
			if err := vm.Empty(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
				return err
			}
		}
		return nil
	})
}
