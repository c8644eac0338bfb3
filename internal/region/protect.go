package region

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
func (r *Region) Protect(off, n int, prot vm.Prot) error {
	if prot > vm.ReadExecute {
		return r.errorf("protect", fmt.Errorf("%d is not a protection", prot))
	}
	return r.change("protect", off, n, func(rec *record, lo, hi uintptr) error {
		if !rec.committed.covers(lo, hi) {
			return errNotCommitted
		}
		parts, seams := rec.committed.inside(lo, hi), slices.Clone(rec.seams)
		back := func() {
			rec.committed = rec.committed.setAll(parts)
			rec.seams = seams
		}
		err := rec.rebook(lo, hi, func() {
			rec.partFiles(lo, hi)
			for _, s := range rec.committed.inside(lo, hi) {
				rec.committed = rec.committed.set(span{s.off, s.end, prot, s.tag})
			}
			// The kernel joins it with what is not committed beside it, which is of its kin then.
			for _, at := range [...][2]uintptr{{lo - 1, lo}, {hi, hi}} {
				if _, committed := rec.committed.at(at[0]); prot == vm.None && !committed {
					rec.addSeams(at[1])
				}
			}
		}, back)
		if err != nil {
			return err
		}
		if err := rec.protect(lo, hi, prot); err != nil {
			rec.unbook(lo, hi, back)
			_ = rec.restore(lo, hi)
			return err
		}
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
		if err := rec.wipe(lo, hi); err != nil {
			_ = rec.restore(lo, hi)
			return err
		}
		missing := rec.guards.outside(lo, hi)
		back := func() { rec.guards.single = rec.guards.single.removeAll(missing) }
		if err := rec.rebook(lo, hi, func() { rec.guards.set(lo, hi) }, back); err != nil {
			_ = rec.restore(lo, hi)
			return err
		}
		if err := rec.guard(lo, hi); err != nil {
			rec.unbook(lo, hi, back)
			for _, s := range missing {
				rec.unguard(s.off, s.end)
			}
			return err
		}
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
						_ = rec.guard(g.off, g.end)
					}
					return err
				}
			}
			rec.guards.remove(lo, hi)
			rec.lockMarked(lo, hi)
			return nil
		}
		before := rec.guards
		before.single = slices.Clone(before.single)
		back := func() { rec.guards = before }
		if err := rec.rebook(lo, hi, func() { rec.guards.remove(lo, hi) }, back); err != nil {
			return err
		}
		if err := rec.restore(lo, hi); err != nil {
			rec.unbook(lo, hi, back)
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
	unlocked, before := rec.locked.outside(lo, hi), rec.committed.inside(lo, hi)
	seams := slices.Clone(rec.seams)
	change := func() {
		rec.partFiles(lo, hi)
		if !rec.secret {
			rec.addSeams(lo, hi) // the kernel may not join it again
		}
		rec.locked = rec.locked.set(span{off: lo, end: hi})
	}
	back := func() {
		rec.seams = seams
		rec.locked = rec.locked.removeAll(unlocked)
		rec.committed = rec.committed.setAll(before)
	}
	if err := rec.rebook(lo, hi, change, back); err != nil {
		return err
	}
	err := vm.Lock(unsafe.Add(rec.base, lo), hi-lo) // after an error some of it may be locked
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
		locked := rec.locked.inside(lo, hi)
		back := func() { rec.locked = rec.locked.setAll(locked) }
		if err := rec.rebook(lo, hi, func() { rec.locked = rec.locked.remove(lo, hi) }, back); err != nil {
			return err
		}
		for _, s := range locked { // and not what the process has locked itself
			if err := vm.Unlock(unsafe.Add(rec.base, s.off), s.end-s.off); err != nil {
				rec.unbook(lo, hi, back)
				return err
			}
		}
		return nil
	})
}

// Advise passes a hint about [off, off+n) to the kernel. The error wraps
// errors.ErrUnsupported where the kernel does not know it. Advise HugePages for whole
// regions (Config.HugePages): a part splits the mapping.
func (r *Region) Advise(off, n int, a vm.Advice) error {
	if a > vm.NoDump {
		return r.errorf("advise", fmt.Errorf("%d is not an advice", a))
	}
	return r.change("advise", off, n, func(rec *record, lo, hi uintptr) error {
		if a == vm.WillNeed {
			return vm.Advise(unsafe.Add(rec.base, lo), hi-lo, a)
		}
		return rec.advise(lo, hi, a)
	})
}

// hintsWith returns the hints that a mapping keeps, a bit each, when one more is given.
func hintsWith(hints uint32, a vm.Advice) uint32 {
	switch a {
	case vm.Normal, vm.Sequential, vm.Random:
		hints &^= 1<<vm.Sequential | 1<<vm.Random
	case vm.HugePages, vm.NoHugePages:
		hints &^= 1<<vm.HugePages | 1<<vm.NoHugePages
	}
	if a == vm.Normal {
		return hints
	}
	return hints | 1<<a
}

// advise passes on a hint that mappings keep.
func (rec *record) advise(lo, hi uintptr, a vm.Advice) error {
	seams := slices.Clone(rec.seams)
	had, without, before := rec.hints.inside(lo, hi), rec.hints.outside(lo, hi), rec.committed.inside(lo, hi)
	back := func() {
		rec.seams = seams
		rec.hints = rec.hints.remove(lo, hi)
		rec.hints = rec.hints.setAll(had)
		rec.committed = rec.committed.setAll(before)
	}
	err := rec.rebook(lo, hi, func() {
		rec.partFiles(lo, hi)
		rec.addSeams(lo, hi) // the kernel may not join it again
		rec.hints = rec.hints.remove(lo, hi)
		for _, s := range append(without, had...) {
			if s.tag = hintsWith(s.tag, a); s.tag != 0 {
				rec.hints = rec.hints.set(s)
			}
		}
	}, back)
	if err != nil {
		return err
	}
	if err := vm.Advise(unsafe.Add(rec.base, lo), hi-lo, a); err != nil {
		rec.unbook(lo, hi, back)
		return err
	}
	return nil
}

// adviseAgain gives a fresh reservation the hints that the books have for it.
func (rec *record) adviseAgain(lo, hi uintptr) {
	for _, s := range rec.hints.inside(lo, hi) {
		for a := range vm.Advice(32) {
			if s.tag>>a&1 != 0 {
				_ = vm.Advise(unsafe.Add(rec.base, s.off), s.end-s.off, a)
			}
		}
	}
}
