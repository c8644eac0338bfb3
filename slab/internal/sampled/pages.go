package sampled

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Nearly all objects lie on one OS page: the first of the room, or the last. These two edges of a slot
// stay committed when the object is freed, behind a guard. That is two system calls less than to
// decommit them, and a third of the time that a sampled object takes. What takes more pages is
// decommitted, and what is in the slots behind the first mostKept, for the sake of mappings.

// edge returns which edge [from, to) is, as whether it is there behind a guard; nil if it is none.
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

// commit makes the OS pages usable that an object lies on, and no others. They read zero.
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
	// There may be an edge among more pages.
	x.first = x.first && uintptr(from)%stride != aside
	x.last = x.last && uintptr(to)%stride != aside+MostSize
	err := s.region.Commit(from, to-from)
	if err != nil {
		_ = s.empty(x)
	}
	return err
}

// hide makes what a slot has inaccessible, and takes it out of RAM.
func (s *slots) hide(i uint32) {
	x := &s.all[i]
	if edge := x.edge(x.from, x.to); edge != nil && int(i) < mostKept && s.region.Guard(x.from, x.to-x.from) == nil {
		*edge = true
		x.from, x.to = 0, 0
		return
	}
	_ = s.empty(x) // or commit does it
}

// empty decommits what a slot has but for its edges. There is something only if its object has just
// been freed, or the kernel refused then.
func (s *slots) empty(x *slot) error {
	err := s.region.Decommit(x.from, x.to-x.from)
	if err == nil {
		x.from, x.to = 0, 0
	}
	return err
}

// around returns what is committed before and behind an object.
func (s *slots) around(x *slot, p unsafe.Pointer, size int) (before, behind []byte) {
	if x.from == x.to {
		return nil, nil
	}
	at := int(uintptr(p) - s.base)
	return s.region.Bytes()[x.from:at], s.region.Bytes()[at+size : x.to]
}
