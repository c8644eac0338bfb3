package guard

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

var errNotCommitted = errors.New("not all of it is committed")

// Protect sets what may be done with [off, off+n), all of which must be
// committed. Contents and charge stay. A touch that it refuses faults (Protected).
func (r *Region) Protect(off, n int, prot Prot) error {
	if prot > vm.ReadExecute {
		return r.errorf("protect", fmt.Errorf("%d is not a protection", prot))
	}
	return r.change("protect", off, n, func(rec *record, lo, hi uintptr) error {
		if !rec.committed.covers(lo, hi) {
			return errNotCommitted
		}
		if err := rec.protect(lo, hi, prot); err != nil {
			_ = rec.restore(lo, hi)
			return err
		}
		rec.committed = rec.committed.set(lo, hi, prot)
		return nil
	})
}

// restore applies to [lo, hi) the protections that the books have for it.
func (rec *record) restore(lo, hi uintptr) error {
	for _, s := range rec.committed.inside(lo, hi) {
		if err := rec.protect(s.off, s.end, s.prot); err != nil {
			return err
		}
	}
	return nil
}

// Guard makes [off, off+n) inaccessible, committed or not: a touch faults (Guarded). Its contents
// are lost, in part also if there is an error; its charge stays. Guarding what is guarded changes
// nothing. What is mapped from a file or locked cannot be guarded, but what is secret can: it is
// overwritten, and stays locked. Where guards are PROT_NONE pages, as they always are in Secret
// regions, the error wraps ErrNoMemory when the process has no mapping left.
func (r *Region) Guard(off, n int) error {
	return r.change("guard", off, n, func(rec *record, lo, hi uintptr) error {
		if err := rec.guardable(lo, hi); err != nil {
			return err
		}
		if err := rec.guard(lo, hi); err != nil {
			return err
		}
		rec.guards.set(lo, hi)
		return nil
	})
}

// Unguard takes the guards in [off, off+n) away. What is committed there is
// usable again, as Protect said last, and reads zero. What is not guarded is left alone.
func (r *Region) Unguard(off, n int) error {
	return r.change("unguard", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.guards.bytes(lo, hi) == 0 {
			return nil
		}
		if rec.light {
			for _, s := range rec.files.outside(lo, hi) { // Linux 6.13 refuses where files are mapped
				if err := vm.Unguard(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
					for _, g := range rec.guards.in(lo, hi) { // some are gone already
						_ = vm.Guard(unsafe.Add(rec.base, g.off), g.end-g.off)
					}
					return err
				}
			}
			rec.guards.remove(lo, hi)
			return nil
		}
		before := rec.guards
		before.single = slices.Clone(before.single)
		rec.guards.remove(lo, hi)
		if err := rec.restore(lo, hi); err != nil {
			rec.guards = before
			for _, s := range before.in(lo, hi) {
				_ = vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, vm.None)
			}
			return err
		}
		return nil
	})
}

// Lock keeps [off, off+n), all of which must be committed, in RAM until Unlock, Decommit or Close.
// RLIMIT_MEMLOCK bounds what a process may lock: the error wraps ErrNoMemory where it refuses.
// Locked memory cannot be guarded.
func (r *Region) Lock(off, n int) error {
	return r.change("lock", off, n, func(rec *record, lo, hi uintptr) error {
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

func (rec *record) lock(lo, hi uintptr) error {
	err := vm.Lock(unsafe.Add(rec.base, lo), hi-lo)
	rec.locked = rec.locked.set(lo, hi, vm.None) // after an error too: the kernel may have done some of it
	if vm.IsLockRefused(err) {
		return fmt.Errorf("lock into RAM: %v: RLIMIT_MEMLOCK is %d: %w", err, vm.Probe().LockedMemory, ErrNoMemory)
	}
	return err
}

// Unlock lets the kernel move [off, off+n) out of RAM again. Secret regions refuse it.
func (r *Region) Unlock(off, n int) error {
	return r.change("unlock", off, n, func(rec *record, lo, hi uintptr) error {
		if rec.secret {
			return errSecret
		}
		if err := vm.Unlock(unsafe.Add(rec.base, lo), hi-lo); err != nil {
			return err
		}
		rec.locked = rec.locked.remove(lo, hi)
		return nil
	})
}

// Advise passes a hint about [off, off+n) to the kernel. The error wraps
// errors.ErrUnsupported where the kernel does not know it. Advise HugePages for whole
// regions (Config.HugePages): a part splits the mapping.
func (r *Region) Advise(off, n int, a Advice) error {
	if a > vm.NoDump {
		return r.errorf("advise", fmt.Errorf("%d is not an advice", a))
	}
	return r.change("advise", off, n, func(rec *record, lo, hi uintptr) error {
		return vm.Advise(unsafe.Add(rec.base, lo), hi-lo, a)
	})
}
