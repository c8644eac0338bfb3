package guard

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// guards is the set of guards inside a region: any, and one row of equal ones at equal distances,
// which takes the same few words however long it is.
type guards struct {
	single spans
	row    row
}

// row is n bytes at off, and again every stride bytes, count in all. n < stride.
type row struct{ off, n, stride, count uintptr }

// inside returns the parts of the row that lie in [off, end), in order.
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

// extend makes the row longer by more, if that is where it goes on.
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

func (g *guards) empty() bool { return len(g.single) == 0 && g.row.count == 0 }

// in returns what a range holds of guards as a set of its own.
func (g *guards) in(off, end uintptr) spans {
	parts := g.row.inside(off, end)
	for _, s := range g.single.inside(off, end) {
		parts = parts.set(s.off, s.end, vm.None)
	}
	return parts
}

func (g *guards) at(off uintptr) bool { return g.bytes(off, off+1) > 0 }

func (g *guards) bytes(off, end uintptr) uintptr { return g.in(off, end).bytes(off, end) }

// outside returns the parts of [off, end) that are not guarded, in order.
func (g *guards) outside(off, end uintptr) spans { return g.in(off, end).outside(off, end) }

func (g *guards) set(off, end uintptr) { g.single = g.single.set(off, end, vm.None) }

// addRow takes a row in.
func (g *guards) addRow(r row) {
	if g.row.extend(r) {
		return
	}
	for _, s := range r.inside(r.off, r.off+r.count*r.stride) {
		g.set(s.off, s.end)
	}
}

// remove takes a range out. A row that it touches is a row no more.
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

// GuardRow guards count stretches of n bytes, the first at off, each stride bytes after the one
// before. It is as many calls of Guard in one, all or nothing but for contents, and the row costs
// no memory in the books of the region, nor do rows that continue it: that is for millions. Nothing
// from its first byte to its last may be locked or mapped from a file.
func (r *Region) GuardRow(off, n, stride, count int) error {
	if n <= 0 || stride <= n || count <= 0 || count > r.size/stride+1 {
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
		if err := rec.guardRow(to); err != nil {
			return err
		}
		rec.guards.addRow(to)
		return nil
	})
}

var (
	errLocked = errors.New("part of it is locked into RAM")
	errFile   = errors.New("part of it is mapped from a file")
)

func (rec *record) guardable(lo, hi uintptr) error {
	switch {
	case rec.locked.bytes(lo, hi) > 0 && !rec.secret:
		return errLocked
	case rec.files.bytes(lo, hi) > 0:
		return errFile
	}
	return nil
}

func (rec *record) guardRow(r row) error {
	if !rec.light {
		for i := range r.count {
			if err := rec.guard(r.off+i*r.stride, r.off+i*r.stride+r.n); err != nil {
				for ; i > 0; i-- {
					_ = rec.restore(r.off+(i-1)*r.stride, r.off+(i-1)*r.stride+r.n)
				}
				return err
			}
		}
		return nil
	}
	done, err := vm.GuardRow(unsafe.Add(rec.base, r.off), r.n, r.stride, r.count)
	if err != nil {
		// The kernel may have done a part of the one at which it stopped.
		for i := range min(done+1, r.count) {
			at := r.off + i*r.stride
			rec.unguardOutside(at, at+r.n)
		}
	}
	return err
}

// guard makes [lo, hi) inaccessible.
func (rec *record) guard(lo, hi uintptr) error {
	if rec.light {
		err := vm.Guard(unsafe.Add(rec.base, lo), hi-lo)
		if err != nil { // the kernel may have done some of it
			rec.unguardOutside(lo, hi)
		}
		return err
	}
	hide := rec.hide
	if rec.secret {
		hide = rec.hideSecret
	}
	for _, s := range rec.committed.inside(lo, hi) { // the rest is inaccessible already
		if err := hide(s.off, s.end); err != nil {
			_ = rec.restore(lo, hi)
			return err
		}
	}
	return nil
}

// unguardOutside takes markers away where the books have no guard.
func (rec *record) unguardOutside(lo, hi uintptr) {
	for _, s := range rec.guards.outside(lo, hi) {
		_ = vm.Unguard(unsafe.Add(rec.base, s.off), s.end-s.off)
	}
}
