package guard

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Move hands the memory of [0, n) to another region, where it begins at 0, too: the OS pages change
// hands, and nothing is copied where the system can (Linux 5.7). So that is how memory grows that
// has no room left behind it: 1 GiB moves in well under a millisecond.
//
// All of it must be committed, readable and writable, and neither guarded nor locked nor mapped from
// a file, and no region Secret; in the other region none of it may be committed or guarded. Afterwards it is committed
// there, and here no more; the budget sees no difference. After an error nothing has changed. Nobody
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
	if whole, ok := rec.committed.at(0); !ok || whole.end < n || whole.prot != vm.ReadWrite {
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
	if err := vm.Protect(to.base, n, vm.ReadWrite); err != nil {
		_ = to.hide(0, n)
		return err
	}
	seams, from := rec.mappings(n), uintptr(0)
	for _, end := range seams {
		// What the kernel does not move is copied: then it is usable on both sides as well.
		if vm.Move(unsafe.Add(rec.base, from), unsafe.Add(to.base, from), end-from) != nil {
			copy(unsafe.Slice((*byte)(unsafe.Add(to.base, from)), end-from), unsafe.Slice((*byte)(unsafe.Add(rec.base, from)), end-from))
		}
		from = end
	}
	to.seams = seams
	to.committed = to.committed.set(0, n, vm.ReadWrite)
	to.used = max(to.used, n)
	to.charge.Add(int64(n))
	if rec.hide(0, n) != nil {
		// The memory has moved, so this is no error: here it stays committed, with any contents.
		_ = rec.restore(0, n)
		ledger.committed.Add(int64(n))
		return nil
	}
	rec.committed = rec.committed.remove(0, n)
	rec.charge.Add(-int64(n))
	return nil
}

// mappings returns where the mappings end that [0, n) consists of: the kernel moves one at a time.
// What was moved once does not grow together with what is behind it.
func (rec *record) mappings(n uintptr) (ends []uintptr) {
	for _, seam := range rec.seams {
		if seam < n {
			ends = append(ends, seam)
		}
	}
	return append(ends, n)
}
