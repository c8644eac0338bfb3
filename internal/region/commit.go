package region

import (
	"errors"
	"fmt"
	"slices"
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
// ErrNoMemory where the budget or the kernel refuses; then nothing has changed. Two goroutines that
// commit the same memory at the same moment are both charged for it until one is done. Nothing of what
// is not committed may be guarded in a Secret region.
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
	gaps := rec.gapsIn(lo, hi)
	first := make([]bool, len(gaps)) // of their kin
	back := func() { rec.committed = rec.committed.removeAll(gaps) }
	err := rec.rebook(lo, hi, func() {
		for i, gap := range gaps {
			gap.prot = vm.ReadWrite
			gap.tag, first[i] = rec.kinFor(gap)
			rec.committed = rec.committed.set(gap)
		}
	}, back)
	if err != nil {
		return err
	}
	for i, gap := range gaps {
		if err := rec.open(gap, first[i], prefault); err != nil {
			rec.unbook(lo, hi, back)
			for _, done := range gaps[:i+1] {
				_ = rec.hide(done.off, done.end)
			}
			return err
		}
	}
	rec.used = max(rec.used, hi)
	return nil
}

// open makes a gap usable. Where the kernel has no memory, the quarantine gives way.
func (rec *record) open(gap span, first, prefault bool) error {
	err := rec.protect(gap.off, gap.end, vm.ReadWrite)
	for vm.IsOutOfMemory(err) && releaseOldest() {
		err = rec.protect(gap.off, gap.end, vm.ReadWrite)
	}
	if err == nil && first {
		err = rec.begin(gap)
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

// hide puts a fresh reservation in the place of [lo, hi): memory, files, locks and markers are gone.
// Secrets were wiped before.
func (rec *record) hide(lo, hi uintptr) error {
	p, n := unsafe.Add(rec.base, lo), hi-lo
	if err := vm.Decommit(p, n); err != nil {
		return err
	}
	// As the reservation around it is, so that the kernel joins them.
	setName(p, n, rec.mapName())
	rec.adviseAgain(lo, hi)
	rec.unmark(lo, hi)
	rec.unbook(lo, hi, func() {
		rec.locked = rec.locked.remove(lo, hi)
		rec.unlocked = rec.unlocked.remove(lo, hi)
		rec.files = rec.files.remove(lo, hi)
		i, _ := slices.BinarySearch(rec.seams, lo+1)
		j, _ := slices.BinarySearch(rec.seams, hi)
		rec.seams = slices.Delete(rec.seams, i, max(i, j))
	})
	return nil
}

// Decommit gives the memory of [off, off+n) back and refunds the budget. The
// contents are lost; a touch faults until Commit, after which it reads zero. What is not committed
// is left alone. Guards inside stay. The error wraps ErrNoMemory where the part in the middle of
// what is committed would need mappings, and regions have all that they may (vm.max_map_count):
// Discard needs none.
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

// decommit gives back parts that touch, in one call: a part alone the kernel might join with what is
// protected from every access, and not with what it was. If it fails, nothing has changed but secrets,
// which are overwritten, and were made writable for that.
func (rec *record) decommit(parts spans) error {
	off, end := parts[0].off, parts[len(parts)-1].end
	back := func() { rec.committed = rec.committed.setAll(parts) }
	err := rec.wipe(off, end)
	if err == nil {
		err = rec.rebook(off, end, func() { rec.committed = rec.committed.remove(off, end) }, back)
	}
	if err == nil {
		if err = rec.hide(off, end); err != nil {
			rec.unbook(off, end, back)
		}
	}
	if err != nil {
		_ = rec.restore(off, end)
	}
	return err
}

// Discard gives the memory of [off, off+n) back without decommitting it: all of it must be
// committed and readable and writable, stays so, stays charged, and reads zero. It is one system
// call and splits no mapping, whatever the range. Guards inside stay. What is secret is overwritten
// and stays in RAM.
func (r *Region) Discard(off, n int) error {
	return r.change("discard", off, n, func(rec *record, lo, hi uintptr) error {
		switch {
		case !rec.committed.all(lo, hi, vm.ReadWrite):
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
