package stack

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

func init() {
	header.Overflowed = func(h *header.Header, addr uintptr) bool { return (*Stack)(unsafe.Pointer(h)).overflowed(addr) }
}

// overflowed is header.Overflowed.
func (s *Stack) overflowed(addr uintptr) bool {
	l := s.layoutOf()
	floor := s.head.Addr(l.end(s) - l.size)
	if addr >= floor || addr < floor-(l.stride-l.size) {
		return false
	}
	s.deepest = uint32(l.size)
	return true
}
