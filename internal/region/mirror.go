package region

import (
	"errors"
	"os"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Mirror maps n bytes of shared memory at p into [off, off+2n), twice in a row: the byte behind the last is the first. What may
// be done with the memory there may be done with it here. Nothing of the range is committed or guarded yet. The budget is not
// charged: the owner of the memory is. The memory at p may be unmapped afterwards.
//
// file, where it is not nil, has the memory from offset at on. It serves emulators, which refuse to map memory again without it.
func (r *Region) Mirror(off, n int, p unsafe.Pointer, prot vm.Prot, file *os.File, at int64) error {
	return r.change("mirror", off, 2*n, func(rec *record, lo, hi uintptr) error {
		if rec.committed.bytes(lo, hi) > 0 || rec.guards.bytes(lo, hi) > 0 {
			return errors.New("part of it is committed or guarded")
		}
		// The kernel keeps two mappings, because what follows the first in the file is not the second.
		mid := lo + uintptr(n)
		restore := rec.saveBooks(lo, hi)
		err := rec.changeBooks(lo, hi, func() {
			for _, half := range [...]span{{lo, mid, prot, rec.newAnonVMA()}, {mid, hi, prot, rec.newAnonVMA()}} {
				rec.committed = rec.committed.set(half)
				rec.files = rec.files.set(span{off: half.off, end: half.end})
			}
			rec.hints = rec.hints.remove(lo, hi)
			rec.fixBoundaries(lo, mid, hi)
		}, restore)
		if err != nil {
			return err
		}
		for _, half := range [...]uintptr{lo, mid} {
			to := unsafe.Add(rec.base, half)
			err := vm.MapAgain(p, to, uintptr(n))
			if err != nil && file != nil && control(file, func(fd int) error { return vm.MapFile(to, uintptr(n), fd, at, prot, true) }) == nil {
				err = nil
			}
			if err != nil {
				rec.correctBooks(lo, hi, restore)
				_ = vm.Decommit(unsafe.Add(rec.base, lo), hi-lo)
				return err
			}
		}
		rec.used = max(rec.used, hi)
		rec.mirrors = true
		return nil
	})
}
