package region

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Move is guard.Region.Move.
func (r *Region) Move(to *Region, n int) error {
	if to == nil || to == r {
		return r.errorf("move", errors.New("there must be another region to move to"))
	}
	if _, _, err := to.span("move to", 0, n); err != nil {
		return err
	}
	return r.change("move", 0, n, func(rec *record, _, end uintptr) error {
		// Two regions that move to each other at the same time would wait for each other: instead, the second
		// call fails.
		if !to.rec.mu.TryLock() {
			return fmt.Errorf("region %q is in use", to.rec.name)
		}
		defer to.rec.mu.Unlock()
		return rec.move(to.rec, end)
	})
}

// move is Move under both locks.
func (rec *record) move(to *record, n uintptr) error {
	if !rec.committed.all(0, n, vm.ReadWrite) {
		return errors.New("not all of it is committed, readable and writable")
	}
	switch {
	case rec.secret || to.secret:
		return errSecret
	case rec.guards.bytes(0, n) > 0 || rec.locked.bytes(0, n) > 0:
		return errors.New("part of it is guarded or locked into RAM")
	case rec.files.bytes(0, n) > 0:
		return errFile
	case to.state != stateOpen:
		return fmt.Errorf("to %q: %w", to.name, ErrClosed)
	case to.committed.bytes(0, n) > 0 || to.guards.bytes(0, n) > 0:
		return fmt.Errorf("part of %q is committed or guarded where it should go", to.name)
	}
	ends, from := rec.ends(n), uintptr(0)
	restore := to.saveBooks(0, n)
	err := to.changeBooks(0, n, func() {
		to.committed = to.committed.set(span{0, n, vm.ReadWrite, to.newAnonVMA()})
		to.fixBoundaries(ends...)
	}, restore)
	if err != nil {
		return err
	}
	if err := vm.Protect(to.base, n, vm.ReadWrite); err != nil {
		_ = to.hide(0, n)
		to.correctBooks(0, n, restore)
		return err
	}
	for _, end := range ends {
		// Memory that the kernel does not move is copied. It is usable on both sides then, too.
		if vm.Move(unsafe.Add(rec.base, from), unsafe.Add(to.base, from), end-from) != nil {
			copy(unsafe.Slice((*byte)(unsafe.Add(to.base, from)), end-from), unsafe.Slice((*byte)(unsafe.Add(rec.base, from)), end-from))
		}
		from = end
	}
	to.adviseAgain(0, n) // moved mappings keep the hints of their old region
	to.used = max(to.used, n)
	to.charge.Add(int64(n))
	if rec.decommit(rec.committed.inside(0, n)) == nil {
		rec.charge.Add(-int64(n))
		return nil
	}
	// The memory has moved, so this is no error. Here it stays committed, with any contents.
	ledger.committed.Add(int64(n))
	return nil
}

// ends returns the ends of the mappings that [0, n) consists of: the kernel moves one mapping at a time. Moved memory is
// not joined with memory behind it.
func (rec *record) ends(n uintptr) (ends []uintptr) {
	for _, s := range rec.committed.inside(0, n) {
		for _, off := range rec.fixed {
			if s.off < off && off < s.end {
				ends = append(ends, off)
			}
		}
		ends = append(ends, s.end)
	}
	return ends
}
