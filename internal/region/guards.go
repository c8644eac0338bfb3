package region

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// guards is the set of guards inside a region: any stretches, and one row of equal ones at equal distances, which takes
// the same few words however long it is.
type guards struct {
	single spans
	row    row
}

// row is a guard of n bytes at off, and again every stride bytes, count in all. n < stride.
type row struct{ off, n, stride, count uintptr }

// inside returns the parts of the row in [off, end), in order.
func (r row) inside(off, end uintptr) (parts spans) {
	if r.count == 0 {
		return nil
	}
	i := uintptr(0)
	if off > r.off {
		i = (off - r.off) / r.stride
	}
	for ; i < r.count && r.off+i*r.stride < end; i++ {
		at := r.off + i*r.stride
		if lo, hi := max(at, off), min(at+r.n, end); lo < hi {
			parts = append(parts, span{off: lo, end: hi})
		}
	}
	return parts
}

// extend appends another row, if that continues this one.
func (r *row) extend(more row) bool {
	if r.count == 0 {
		*r = more
		return true
	}
	if more.n != r.n || more.stride != r.stride || more.off != r.off+r.count*r.stride {
		return false
	}
	r.count += more.count
	return true
}

// in returns the guards in a range, as a set of spans.
func (g *guards) in(off, end uintptr) spans {
	parts := g.row.inside(off, end)
	for _, s := range g.single.inside(off, end) {
		parts = parts.set(span{off: s.off, end: s.end})
	}
	return parts
}

// at tells whether the byte at off is guarded. The signal handler calls it.
//
//go:nosplit
//go:noinline
//go:norace
func (g *guards) at(off uintptr) bool {
	if _, ok := g.single.at(off); ok {
		return true
	}
	r, from := &g.row, off-g.row.off // wraps below the row
	return r.count > 0 && from < r.count*r.stride && from%r.stride < r.n
}

// bytes returns how many bytes of a range are guarded.
func (g *guards) bytes(off, end uintptr) uintptr { return g.in(off, end).bytes(off, end) }

// outside returns the parts of [off, end) that are not guarded, in order.
func (g *guards) outside(off, end uintptr) spans { return g.in(off, end).outside(off, end) }

// set adds a guard.
func (g *guards) set(off, end uintptr) { g.single = g.single.set(span{off: off, end: end}) }

// addRow adds a row of guards.
func (g *guards) addRow(r row) {
	if g.row.extend(r) {
		return
	}
	for _, s := range r.inside(r.off, r.off+r.count*r.stride) {
		g.set(s.off, s.end)
	}
}

// remove removes all guards in a range. A row that has some there becomes single stretches.
func (g *guards) remove(off, end uintptr) {
	if len(g.row.inside(off, end)) > 0 {
		r := g.row
		g.row = row{}
		for _, s := range r.inside(r.off, r.off+r.count*r.stride) {
			g.set(s.off, s.end)
		}
	}
	g.single = g.single.remove(off, end)
}

// GuardRow guards count stretches of n bytes, the first at off, each stride bytes after the one before. It does the work
// of as many calls of Guard, all or nothing except for contents. The row takes no memory in the books, nor do rows
// that continue it: it is for millions of guards. No memory from its first byte to its last may be locked or mapped
// from a file.
func (r *Region) GuardRow(off, n, stride, count int) error {
	if n <= 0 || stride <= n || count <= 0 || count > r.Size()/stride+1 {
		return r.errorf("guard", fmt.Errorf("a row of %d guards of %d bytes every %d cannot be", count, n, stride))
	}
	to := row{uintptr(off), uintptr(n), uintptr(stride), uintptr(count)}
	if stride%PageSize() != 0 || n%PageSize() != 0 {
		return r.errorf("guard", fmt.Errorf("length %d and distance %d must be multiples of the OS page of %d bytes", n, stride, PageSize()))
	}
	return r.change("guard", off, (count-1)*stride+n, func(rec *record, lo, hi uintptr) error {
		if err := rec.guardable(lo, hi); err != nil {
			return err
		}
		for _, s := range to.inside(lo, hi) {
			if err := rec.wipe(s.off, s.end); err != nil {
				_ = rec.protectAsBooked(lo, hi)
				return err
			}
		}
		row, missing := rec.guards.row, rec.guards.outside(lo, hi)
		back := func() {
			if rec.guards.row != row {
				rec.guards.row = row // it was made longer
				return
			}
			rec.guards.single = rec.guards.single.removeAll(missing)
		}
		if err := rec.changeBooks(lo, hi, func() { rec.guards.addRow(to) }, back); err != nil {
			_ = rec.protectAsBooked(lo, hi)
			return err
		}
		if err := rec.guardRow(to, missing); err != nil {
			rec.correctBooks(lo, hi, back)
			return err
		}
		return nil
	})
}

var (
	errLocked = errors.New("part of it is locked into RAM")
	errFile   = errors.New("part of it is mapped from a file")
)

// guardable returns an error if a part of [lo, hi) must not be guarded.
func (rec *record) guardable(lo, hi uintptr) error {
	switch {
	case rec.locked.bytes(lo, hi) > 0 && !rec.secret:
		return errLocked
	case rec.files.bytes(lo, hi) > 0:
		return errFile
	}
	return nil
}

// guardRow makes a row inaccessible. If that fails, the stretches in missing are accessible again.
func (rec *record) guardRow(r row, missing spans) (err error) {
	done, end := uintptr(0), r.off+(r.count-1)*r.stride+r.n
	switch rec.committed.bytes(r.off, end) {
	case 0:
		done = r.count
		rec.unmark(r.off, end)
	case end - r.off:
		if done, err = rec.markRow(r); vm.IsLocked(err) {
			err = nil // one by one, then
		}
	}
	for ; done < r.count && err == nil; done++ {
		err = rec.guard(r.off+done*r.stride, r.off+done*r.stride+r.n)
	}
	if err != nil {
		// The kernel may have done a part of the one at which it stopped.
		for i := range min(done+1, r.count) {
			at := r.off + i*r.stride
			for _, s := range missing.inside(at, at+r.n) {
				rec.unguard(s.off, s.end)
			}
		}
	}
	return err
}

// markRow installs the markers of a row, where guards are markers. done is how many guards of the row have them.
func (rec *record) markRow(r row) (done uintptr, err error) {
	if !rec.light {
		return 0, nil
	}
	return vm.GuardRow(unsafe.Add(rec.base, r.off), r.n, r.stride, r.count)
}

// guard makes [lo, hi) inaccessible. After an error the kernel may have done some of it. Uncommitted memory is
// inaccessible already; Commit gives it its markers.
func (rec *record) guard(lo, hi uintptr) error {
	make := rec.hide
	switch {
	case rec.light:
		make = rec.mark
		for _, s := range rec.committed.outside(lo, hi) {
			rec.unmark(s.off, s.end)
		}
	case rec.secret:
		make = rec.hideSecret
	}
	for _, s := range rec.committed.inside(lo, hi) {
		if err := make(s.off, s.end); err != nil {
			return err
		}
	}
	return nil
}

// unmark notes that guards in [lo, hi) have no markers. There are no markers on uncommitted memory: the kernel takes a
// mapping with markers for one that was touched, and core dumps contain all of it.
func (rec *record) unmark(lo, hi uintptr) {
	if rec.light {
		rec.unmarked = rec.unmarked.set(span{off: lo, end: hi})
	}
}

// markMissing installs the markers of guards in [lo, hi) that have none.
func (rec *record) markMissing(lo, hi uintptr) error {
	for _, part := range rec.unmarked.inside(lo, hi) {
		missing := rec.guards.in(part.off, part.end)
		if r, ok := rowOf(missing); ok {
			if done, err := rec.markRow(r); err == nil || !vm.IsLocked(err) {
				if err != nil {
					return err
				}
				missing = missing[done:]
			}
		}
		for _, g := range missing {
			if err := rec.mark(g.off, g.end); err != nil {
				return err
			}
		}
		rec.unmarked = rec.unmarked.remove(part.off, part.end)
	}
	return nil
}

// rowOf returns several parts as a row, if they are one.
func rowOf(parts spans) (r row, ok bool) {
	if len(parts) < 2 {
		return row{}, false
	}
	r = row{parts[0].off, parts[0].end - parts[0].off, parts[1].off - parts[0].off, uintptr(len(parts))}
	for i, s := range parts {
		if at := r.off + uintptr(i)*r.stride; s.off != at || s.end != at+r.n {
			return row{}, false
		}
	}
	return r, true
}

// unguard makes the committed parts of [lo, hi) accessible again. The contents are lost.
func (rec *record) unguard(lo, hi uintptr) {
	for _, s := range rec.committed.inside(lo, hi) {
		if rec.light {
			_ = vm.Unguard(unsafe.Add(rec.base, s.off), s.end-s.off)
			rec.relock(s.off, s.end)
		} else {
			_ = vm.Protect(unsafe.Add(rec.base, s.off), s.end-s.off, s.prot)
		}
	}
}

// mark installs guard markers over [lo, hi). The kernel refuses them where the process has locked its memory (mlockall):
// there mark unlocks the stretch first, which takes mappings.
func (rec *record) mark(lo, hi uintptr) error {
	p, n := unsafe.Add(rec.base, lo), hi-lo
	err := vm.Guard(p, n)
	if !vm.IsLocked(err) {
		return err
	}
	before := slices.Clone(rec.unlocked)
	back := func() { rec.unlocked = before }
	if err := rec.changeBooks(lo, hi, func() { rec.unlocked = rec.unlocked.set(span{off: lo, end: hi}) }, back); err != nil {
		return err
	}
	if err = vm.Unlock(p, n); err == nil {
		err = vm.Guard(p, n)
	}
	if err != nil {
		rec.correctBooks(lo, hi, back)
	}
	return err
}

// relock locks again the stretches in [lo, hi) that mark has unlocked. Their guards are gone.
func (rec *record) relock(lo, hi uintptr) {
	for _, s := range rec.unlocked.inside(lo, hi) {
		_ = vm.Lock(unsafe.Add(rec.base, s.off), s.end-s.off) // it brings memory in, if it is committed
		rec.correctBooks(s.off, s.end, func() { rec.unlocked = rec.unlocked.remove(s.off, s.end) })
	}
}
