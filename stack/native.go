package stack

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

func init() {
	header.Overflowed = func(h *header.Header, addr uintptr) bool { return (*Stack)(unsafe.Pointer(h)).overflowed(addr) }
}

// overflowed reports whether addr lies in the guard below the stack, which native code touched. If it
// does, all of the stack counts as used.
func (s *Stack) overflowed(addr uintptr) bool {
	sh := s.shapeOf()
	floor := s.head.Addr(sh.end(s) - sh.size)
	if addr >= floor || addr < floor-(sh.stride-sh.size) {
		return false
	}
	s.deepest = uint32(sh.size)
	return true
}
