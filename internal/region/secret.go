package region

import (
	"errors"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// What a Secret region does, and where:
//
//   - Reserve leaves all of it out of core dumps, and Commit what it commits; every change of protection
//     keeps that.
//   - Commit locks. From then on what is committed is locked, guarded or not, unless the limit
//     refused it and the user takes that.
//   - Decommit, Discard, Guard and Close overwrite what they take away.
//   - Nothing leaves otherwise: it is not moved, not unlocked, and no file is mapped. Guards are
//     PROT_NONE pages, because the kernel puts no markers into locked memory.

var (
	errSecret       = errors.New("the region is secret")
	errGuardsSecret = errors.New("part of it is guarded, and the region is secret")
)

// keepSecret readies a fresh reservation.
func (rec *record) keepSecret(c Config) error {
	if !c.Secret {
		return nil
	}
	rec.secret, rec.swap, rec.light = true, c.MaySwap, false
	return noMemory(rec.advise(0, rec.data, vm.NoDump))
}

// lockSecret locks what Commit has just made usable.
func (rec *record) lockSecret(lo, hi uintptr) error {
	if !rec.secret {
		return nil
	}
	if rec.guards.bytes(lo, hi) > 0 {
		return errGuardsSecret // a guard cannot be brought into RAM, and would be without lock when it goes
	}
	// Again, because Decommit puts a fresh reservation there, and does not fail if it cannot say so.
	err := vm.Advise(unsafe.Add(rec.base, lo), hi-lo, vm.NoDump)
	if err == nil {
		err = rec.lock(lo, hi)
	}
	if rec.swap && errors.Is(err, ErrNoMemory) && vm.Unlock(unsafe.Add(rec.base, lo), hi-lo) == nil {
		rec.unbook(lo, hi, func() { rec.locked = rec.locked.remove(lo, hi) })
		return nil
	}
	return err
}

// hideSecret makes [lo, hi) inaccessible. Its memory stays, overwritten before, and locked.
func (rec *record) hideSecret(lo, hi uintptr) error {
	return vm.Protect(unsafe.Add(rec.base, lo), hi-lo, vm.None)
}

// wipe overwrites what is committed in [lo, hi) of a Secret region, and leaves it writable. There is
// nothing under guards: they were wiped when they came. After an error nothing is overwritten, but
// the protections are for the caller to restore.
func (rec *record) wipe(lo, hi uintptr) error {
	if !rec.secret {
		return nil
	}
	var parts spans
	for _, s := range rec.committed.inside(lo, hi) {
		parts = append(parts, rec.guards.outside(s.off, s.end)...)
	}
	// Whatever the books say of them: a fault would leave the region's lock locked.
	for _, s := range parts {
		if err := vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, vm.ReadWrite); err != nil {
			return err
		}
	}
	for _, s := range parts {
		clear(unsafe.Slice((*byte)(unsafe.Add(rec.base, s.off)), s.end-s.off))
	}
	return nil
}
