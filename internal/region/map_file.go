package region

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// MapFile is guard.Region.MapFile.
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
	// Charged without the lock, because OnSoft may call this region.
	if err := charge(int64(n), r.rec.deferOnSoft.Load()); err != nil {
		return r.errorf("map file", err)
	}
	err = r.change("map file", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.secret {
			return errSecret
		}
		if rec.committed.bytes(lo, hi) > 0 || rec.guards.bytes(lo, hi) > 0 {
			return errors.New("part of it is committed or guarded")
		}
		// The kernel is not assumed to join mappings of files.
		restore := rec.saveBooks(lo, hi)
		err := rec.changeBooks(lo, hi, func() {
			rec.committed = rec.committed.set(span{lo, hi, prot, rec.newAnonVMA()})
			rec.files = rec.files.set(span{off: lo, end: hi})
			rec.hints = rec.hints.remove(lo, hi)
			rec.fixBoundaries(lo, hi)
		}, restore)
		if err != nil {
			return err
		}
		var mapped error
		err = conn.Control(func(fd uintptr) {
			mapped = vm.MapFile(unsafe.Add(rec.base, lo), hi-lo, int(fd), at, prot, false)
		})
		if err == nil {
			err = mapped
		}
		if err != nil {
			rec.correctBooks(lo, hi, restore)
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
