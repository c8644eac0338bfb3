package region

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// span checks a range that a caller gave, and returns it as offsets.
func (r *Region) span(op string, off, n int) (uintptr, uintptr, error) {
	page, size := vm.Probe().PageSize, r.Size()
	switch {
	case r.rec.backing != nil:
		return 0, 0, r.errorf(op, errBacked)
	case off < 0 || n < 0 || off > size || n > size-off:
		return 0, 0, r.errorf(op, fmt.Errorf("offset %d and length %d are not inside its %d bytes", off, n, size))
	case off%page != 0 || n%page != 0:
		return 0, 0, r.errorf(op, fmt.Errorf("offset %d and length %d must be multiples of the OS page of %d bytes", off, n, page))
	}
	return uintptr(off), uintptr(off + n), nil
}

// change runs f under the lock of the open region, on a range that it has checked and that is not empty.
func (r *Region) change(op string, off, n int, f func(rec *record, lo, hi uintptr) error) error {
	lo, hi, err := r.span(op, off, n)
	if err != nil {
		return err
	}
	return r.underLock(op, lo, hi, f)
}

// underLock runs f under the lock of the open region, on a range that is checked, unless it is empty.
func (r *Region) underLock(op string, lo, hi uintptr, f func(rec *record, lo, hi uintptr) error) error {
	rec := r.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.state != stateOpen {
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

// noMemory wraps ErrNoMemory in the kernel's error for a lack of memory, and names the limits that may be behind it.
func noMemory(err error) error {
	if !vm.IsOutOfMemory(err) {
		return err
	}
	v := vm.Probe()
	return fmt.Errorf("%v (vm.max_map_count is %d, overcommit is %q): %w", err, v.MaxMappings, v.Overcommit, ErrNoMemory)
}

// Commit is guard.Region.Commit. With Config.DeferOnSoft it does not call OnSoft: see Reclaim.
func (r *Region) Commit(off, n int) error {
	lo, hi, err := r.span("commit", off, n)
	if err != nil {
		return err
	}
	for {
		need := r.missing(lo, hi)
		// Charged without the lock, because OnSoft may call this region.
		if need > 0 {
			if err := charge(int64(need), r.rec.deferOnSoft.Load()); err != nil {
				if r.missing(lo, hi) < need {
					continue // another goroutine committed some of it meanwhile
				}
				return r.errorf("commit", err)
			}
		}
		enough := true
		used := uintptr(0)
		err := r.change("commit", off, n, func(rec *record, lo, hi uintptr) error {
			missing := hi - lo - rec.committed.bytes(lo, hi)
			if missing > need {
				enough = false // another goroutine decommitted meanwhile
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

// missing returns how many bytes of [lo, hi) are not committed; 0 for a closed region.
func (r *Region) missing(lo, hi uintptr) uintptr {
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	if r.rec.state != stateOpen {
		return 0 // change returns the error
	}
	return hi - lo - r.rec.committed.bytes(lo, hi)
}

// commit makes the uncommitted parts of [lo, hi) usable, all of them or none.
func (rec *record) commit(lo, hi uintptr, prefault bool) error {
	gaps := rec.gapsIn(lo, hi)
	first := make([]bool, len(gaps)) // memory of a new anon_vma
	back := func() { rec.committed = rec.committed.removeAll(gaps) }
	err := rec.changeBooks(lo, hi, func() {
		for i, gap := range gaps {
			gap.prot = vm.ReadWrite
			gap.tag, first[i] = rec.anonVMAFor(gap)
			rec.committed = rec.committed.set(gap)
		}
	}, back)
	if err != nil {
		return err
	}
	for i, gap := range gaps {
		if err := rec.makeUsable(gap, first[i], prefault); err != nil {
			rec.correctBooks(lo, hi, back)
			for _, done := range gaps[:i+1] {
				_ = rec.hide(done.off, done.end)
			}
			return err
		}
	}
	rec.used = max(rec.used, hi)
	return nil
}

// makeUsable makes an uncommitted stretch usable. Where the kernel has no memory, the quarantine gives way.
func (rec *record) makeUsable(gap span, first, prefault bool) error {
	err := rec.protect(gap.off, gap.end, vm.ReadWrite)
	for vm.IsOutOfMemory(err) && releaseOldest() {
		err = rec.protect(gap.off, gap.end, vm.ReadWrite)
	}
	if err == nil && first {
		err = rec.touchMapping(gap)
	}
	if err == nil {
		err = rec.markMissing(gap.off, gap.end)
	}
	if err == nil {
		err = rec.lockSecret(gap.off, gap.end)
	}
	if err == nil && prefault {
		err = rec.populate(gap.off, gap.end)
	}
	return err
}

// unguarded returns the parts of [lo, hi) that a change of protection must be applied to. Guard markers survive it, so
// that is all of it; PROT_NONE pages that stand for guards must be left out.
func (rec *record) unguarded(lo, hi uintptr) spans {
	if rec.light {
		return spans{{off: lo, end: hi}}
	}
	return rec.guards.outside(lo, hi)
}

// protect sets the protection of [lo, hi) in the kernel, except for guards.
func (rec *record) protect(lo, hi uintptr, prot vm.Prot) error {
	for _, s := range rec.unguarded(lo, hi) {
		if err := vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, prot); err != nil {
			return err
		}
	}
	return nil
}

// populate brings [lo, hi) into RAM, except for guards, for which the kernel refuses it.
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
	// It writes zero over zero, because a write brings the page in.
	for off := uintptr(0); off < n; off += uintptr(vm.Probe().PageSize) {
		*(*byte)(unsafe.Add(p, off)) = 0
	}
	return nil
}

// hide puts a fresh reservation in the place of [lo, hi): memory, files, locks and markers are gone. Caller has wiped
// secrets.
func (rec *record) hide(lo, hi uintptr) error {
	p, n := unsafe.Add(rec.base, lo), hi-lo
	if err := vm.Decommit(p, n); err != nil {
		return err
	}
	// With the attributes of the reservation around it, so that the kernel joins them.
	setName(p, n, rec.mapName())
	rec.adviseAgain(lo, hi)
	rec.unmark(lo, hi)
	rec.correctBooks(lo, hi, func() {
		rec.locked = rec.locked.remove(lo, hi)
		rec.unlocked = rec.unlocked.remove(lo, hi)
		rec.files = rec.files.remove(lo, hi)
		i, _ := slices.BinarySearch(rec.fixed, lo+1)
		j, _ := slices.BinarySearch(rec.fixed, hi)
		rec.fixed = slices.Delete(rec.fixed, i, max(i, j))
	})
	return nil
}

// Decommit is guard.Region.Decommit.
func (r *Region) Decommit(off, n int) error {
	var freed uintptr
	err := r.change("decommit", off, n, func(rec *record, lo, hi uintptr) error {
		for parts := rec.committed.inside(lo, hi); len(parts) > 0; {
			n := 1
			for n < len(parts) && parts[n].off == parts[n-1].end {
				n++
			}
			size := parts[n-1].end - parts[0].off
			if err := rec.decommit(parts[:n]); err != nil {
				return err
			}
			rec.charge.Add(-int64(size))
			freed += size
			parts = parts[n:]
		}
		return nil
	})
	refund(int64(freed))
	return err
}

// decommit gives back adjacent parts in one call, because the kernel might join a single part with memory of
// Protect(None) beside it, instead of with the mapping that it was split from. If it fails nothing has changed,
// except that secrets are overwritten.
func (rec *record) decommit(parts spans) error {
	off, end := parts[0].off, parts[len(parts)-1].end
	back := func() { rec.committed = rec.committed.setAll(parts) }
	err := rec.wipe(off, end)
	if err == nil {
		err = rec.changeBooks(off, end, func() { rec.committed = rec.committed.remove(off, end) }, back)
	}
	if err == nil {
		if err = rec.hide(off, end); err != nil {
			rec.correctBooks(off, end, back)
		}
	}
	if err != nil {
		_ = rec.protectAsBooked(off, end)
	}
	return err
}

// Discard is guard.Region.Discard.
func (r *Region) Discard(off, n int) error {
	return r.change("discard", off, n, func(rec *record, lo, hi uintptr) error {
		switch {
		case !rec.committed.all(lo, hi, vm.ReadWrite):
			return errors.New("not all of it is committed, readable and writable")
		case rec.secret:
			return rec.wipe(lo, hi)
		case rec.locked.bytes(lo, hi) > 0:
			return errLocked
		case rec.files.bytes(lo, hi) > 0: // it would show the file again
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
