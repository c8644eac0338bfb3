package region

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Move hands the memory of [0, n) to another region, where it begins at 0, too: the OS pages change
// hands, and nothing is copied where the system can (Linux 5.7). So that is how memory grows that
// has no room left behind it: 1 GiB moves in well under a millisecond.
//
// All of it must be committed, readable and writable, and neither guarded nor locked nor mapped from
// a file, and no region Secret; in the other region none of it may be committed or guarded. Afterwards it is committed
// there, and here no more; the budget sees no difference. After an error nothing has changed. Where the kernel
// does not take the old place back, it stays committed, and charged beyond any budget. Nobody
// may use the memory meanwhile.
func (r *Region) Move(to *Region, n int) error {
	if to == nil || to == r {
		return r.errorf("move", errors.New("there must be another region to move to"))
	}
	if _, _, err := to.span("move to", 0, n); err != nil {
		return err
	}
	return r.change("move", 0, n, func(rec *record, _, end uintptr) error {
		// Two that move to each other at the same time would wait for each other: the one that
		// comes second is told instead.
		if !to.rec.mu.TryLock() {
			return fmt.Errorf("region %q is in use", to.rec.name)
		}
		defer to.rec.mu.Unlock()
		return rec.move(to.rec, end)
	})
}

// move needs both locks.
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
	case to.state != open:
		return fmt.Errorf("to %q: %w", to.name, ErrClosed)
	case to.committed.bytes(0, n) > 0 || to.guards.bytes(0, n) > 0:
		return fmt.Errorf("part of %q is committed or guarded where it should go", to.name)
	}
	ends, from := rec.ends(n), uintptr(0)
	seams := slices.Clone(to.seams)
	back := func() { to.committed, to.seams = to.committed.remove(0, n), seams }
	err := to.rebook(0, n, func() {
		to.committed = to.committed.set(span{0, n, vm.ReadWrite, to.newKin()})
		to.addSeams(ends...)
	}, back)
	if err != nil {
		return err
	}
	if err := vm.Protect(to.base, n, vm.ReadWrite); err != nil {
		_ = to.hide(0, n)
		to.unbook(0, n, back)
		return err
	}
	for _, end := range ends {
		// What the kernel does not move is copied: then it is usable on both sides as well.
		if vm.Move(unsafe.Add(rec.base, from), unsafe.Add(to.base, from), end-from) != nil {
			copy(unsafe.Slice((*byte)(unsafe.Add(to.base, from)), end-from), unsafe.Slice((*byte)(unsafe.Add(rec.base, from)), end-from))
		}
		from = end
	}
	to.adviseAgain(0, n) // what was moved has the hints of where it was
	to.used = max(to.used, n)
	to.charge.Add(int64(n))
	if rec.decommit(rec.committed.inside(0, n)) == nil {
		rec.charge.Add(-int64(n))
		return nil
	}
	// The memory has moved, so this is no error: here it stays committed, with any contents.
	ledger.committed.Add(int64(n))
	return nil
}

// ends returns where the mappings end that [0, n) consists of: the kernel moves one at a time.
// What was moved once does not grow together with what is behind it.
func (rec *record) ends(n uintptr) (ends []uintptr) {
	for _, s := range rec.committed.inside(0, n) {
		for _, seam := range rec.seams {
			if s.off < seam && seam < s.end {
				ends = append(ends, seam)
			}
		}
		ends = append(ends, s.end)
	}
	return ends
}
