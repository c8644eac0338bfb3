package region

import (
	"errors"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// A Secret region, call by call:
//
//   - Reserve leaves all of it out of core dumps, and Commit does so again for fresh memory.
//   - Commit locks. From then on committed memory is locked, guarded or not, unless RLIMIT_MEMLOCK refuses the
//     lock and Config.MaySwap is set.
//   - Decommit, Discard, Guard and Close overwrite the memory that they take away.
//   - Move, Unlock and MapFile are refused. Guards are PROT_NONE pages, because the kernel puts no markers into
//     locked memory.

var (
	errSecret       = errors.New("the region is secret")
	errGuardsSecret = errors.New("part of it is guarded, and the region is secret")
)

// keepSecret prepares a fresh reservation for secrets, if the Config asks for that.
func (rec *record) keepSecret(c Config) error {
	if !c.Secret {
		return nil
	}
	rec.secret, rec.swap, rec.light = true, c.MaySwap, false
	return noMemory(rec.advise(0, rec.room, vm.NoDump))
}

// lockSecret locks a stretch that Commit has just made usable.
func (rec *record) lockSecret(lo, hi uintptr) error {
	if !rec.secret {
		return nil
	}
	if rec.guards.bytes(lo, hi) > 0 {
		return errGuardsSecret // a guard cannot be brought into RAM, and its memory would have no lock once it is removed
	}
	// Again, because Decommit put a fresh reservation there, and does not fail if the advice does.
	err := vm.Advise(unsafe.Add(rec.base, lo), hi-lo, vm.NoDump)
	if err == nil {
		err = rec.lock(lo, hi)
	}
	if rec.swap && errors.Is(err, ErrNoMemory) && vm.Unlock(unsafe.Add(rec.base, lo), hi-lo) == nil {
		rec.correctBooks(lo, hi, func() { rec.locked = rec.locked.remove(lo, hi) })
		return nil
	}
	return err
}

// hideSecret makes [lo, hi) inaccessible. Its memory stays, locked. Caller has wiped it.
func (rec *record) hideSecret(lo, hi uintptr) error {
	return vm.Protect(unsafe.Add(rec.base, lo), hi-lo, vm.None)
}

// wipe overwrites the committed memory in [lo, hi) of a Secret region, and leaves it writable. Memory under guards was
// overwritten when the guards came. After an error nothing is overwritten, and the caller restores the protections.
func (rec *record) wipe(lo, hi uintptr) error {
	if !rec.secret {
		return nil
	}
	var parts spans
	for _, s := range rec.committed.inside(lo, hi) {
		parts = append(parts, rec.guards.outside(s.off, s.end)...)
	}
	// Whatever protection the books have: a fault would leave the region's lock locked.
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
