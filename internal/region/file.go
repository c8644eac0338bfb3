package region

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// MapFile makes [off, off+n), nothing of which may be committed or guarded, show what f holds from
// byte at on, a multiple of the OS page. The mapping is private: writes, where prot allows them,
// copy the OS page and never reach the file. So all of it is committed from now on, and charged to
// the budget. f may be closed afterwards.
//
// What others write to the file may show or not; where they shorten it, or n reaches beyond its
// end, a touch of what is missing faults (Truncated), and what was written to there is lost. The
// rest of the last OS page reads zero.
//
// Protect, Lock, Decommit and Close work as on other memory: the file is let go by Decommit, and
// Commit brings zeroes. Guard and Move refuse it, and Secret regions take no files. Resident counts what of the file is in RAM,
// whoever brought it in. Hints for the region hold no longer for [off, off+n).
//
// The error wraps ErrNoMemory where the budget or the kernel refuses; after an error nothing has
// changed.
func (r *Region) MapFile(off, n int, f *os.File, at int64, prot vm.Prot) error {
	switch {
	case f == nil:
		return r.errorf("map file", errors.New("there must be a file"))
	case prot > vm.ReadExecute:
		return r.errorf("map file", fmt.Errorf("%d is not a protection", prot))
	case at < 0 || at%int64(PageSize()) != 0:
		return r.errorf("map file", fmt.Errorf("file offset %d must be a multiple of the OS page of %d bytes and not negative", at, PageSize()))
	case n > 0 && at > math.MaxInt64-int64(n):
		return r.errorf("map file", fmt.Errorf("file offset %d and length %d are more than a file can hold", at, n))
	}
	if _, _, err := r.span("map file", off, n); err != nil {
		return err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return r.errorf("map file", err)
	}
	// Charged without the lock, because OnSoft may come back to this region.
	if err := charge(int64(n), r.deferOnSoft); err != nil {
		return r.errorf("map file", err)
	}
	err = r.change("map file", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.secret {
			return errSecret
		}
		if rec.committed.bytes(lo, hi) > 0 || rec.guards.bytes(lo, hi) > 0 {
			return errors.New("part of it is committed or guarded")
		}
		// No two mappings of files are one.
		seams, hints := slices.Clone(rec.seams), rec.hints.inside(lo, hi)
		back := func() {
			rec.committed, rec.files, rec.seams = rec.committed.remove(lo, hi), rec.files.remove(lo, hi), seams
			rec.hints = rec.hints.setAll(hints)
		}
		err := rec.rebook(lo, hi, func() {
			rec.committed = rec.committed.set(span{lo, hi, prot, rec.newKin()})
			rec.files = rec.files.set(span{off: lo, end: hi})
			rec.hints = rec.hints.remove(lo, hi)
			rec.addSeams(lo, hi)
		}, back)
		if err != nil {
			return err
		}
		var mapped error
		err = conn.Control(func(fd uintptr) {
			mapped = vm.MapFile(unsafe.Add(rec.base, lo), hi-lo, int(fd), at, prot)
		})
		if err == nil {
			err = mapped
		}
		if err != nil {
			rec.unbook(lo, hi, back)
			return err
		}
		rec.used = max(rec.used, hi)
		rec.charge.Add(int64(n))
		return nil
	})
	if err != nil {
		refund(int64(n))
	}
	return err
}
