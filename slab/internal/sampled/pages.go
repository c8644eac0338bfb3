package sampled

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Nearly all objects lie on one OS page: the first of the room, or the last. These two edges of a slot stay committed
// when the object is freed, behind a guard. That saves two system calls, a third of the time of a sampled object.
// Larger objects are decommitted, and so are those in the slots beyond the first mostKept, because mappings are
// bounded.

// edge returns the flag of the edge that [from, to) is: whether it is committed behind a guard; nil if it is no edge.
func (x *slot) edge(from, to int) *bool {
	switch {
	case to-from != region.PageSize():
	case uintptr(from)%stride == aside:
		return &x.first
	case uintptr(to)%stride == aside+MostSize:
		return &x.last
	}
	return nil
}

// commit makes the OS pages of an object usable, and no others. They read zero.
func (s *slots) commit(x *slot, at uintptr, size int) error {
	if err := s.empty(x); err != nil || size == 0 {
		return err
	}
	page := region.PageSize()
	off := int(at - s.base)
	from, to := off&^(page-1), (off+size+page-1)&^(page-1)
	if err := s.region.Unguard(from, to-from); err != nil {
		return err
	}
	x.from, x.to = from, to
	if edge := x.edge(from, to); edge != nil && *edge {
		*edge = false
		return nil
	}
	// The pages may include an edge.
	x.first = x.first && uintptr(from)%stride != aside
	x.last = x.last && uintptr(to)%stride != aside+MostSize
	err := s.region.Commit(from, to-from)
	if err != nil {
		_ = s.empty(x)
	}
	return err
}

// hide makes the pages of a slot inaccessible, and takes them out of RAM.
func (s *slots) hide(i uint32) {
	x := &s.all[i]
	if edge := x.edge(x.from, x.to); edge != nil && int(i) < mostKept && s.region.Guard(x.from, x.to-x.from) == nil {
		*edge = true
		x.from, x.to = 0, 0
		return
	}
	_ = s.empty(x) // if it fails, commit does it
}

// empty decommits the pages of a slot, except for its edges. There are such pages only if the object has just been freed, or
// the kernel refused to decommit them then.
func (s *slots) empty(x *slot) error {
	err := s.region.Decommit(x.from, x.to-x.from)
	if err == nil {
		x.from, x.to = 0, 0
	}
	return err
}

// around returns the committed bytes before and behind an object.
func (s *slots) around(x *slot, p unsafe.Pointer, size int) (before, behind []byte) {
	if x.from == x.to {
		return nil, nil
	}
	at := int(uintptr(p) - s.base)
	return s.region.Bytes()[x.from:at], s.region.Bytes()[at+size : x.to]
}
