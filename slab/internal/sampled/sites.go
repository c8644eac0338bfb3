package sampled

import (
	"runtime"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// sites are stacks as texts, by what they were made of: to print one takes longer than all the rest
// of an allocation, and a program has few.
type sites map[[deepest]uintptr]string

const (
	deepest   = 32   // callers of a stack
	mostSites = 4096 // that are kept
)

// here returns the stack of who called an allocator. mu is not held.
func (s *slots) here() (text string) {
	var pcs [deepest]uintptr
	n := runtime.Callers(3, pcs[:])
	s.mu.Lock()
	text, ok := s.sites[pcs]
	s.mu.Unlock()
	if ok {
		return text
	}
	text = stacktrace.Text(ofAllocator(pcs[:n]))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sites) >= mostSites {
		clear(s.sites)
	}
	s.sites[pcs] = text
	return text
}

// ofAllocator leaves out of a stack what the allocator calls inside.
func ofAllocator(pcs []uintptr) []uintptr {
	return pcs[max(len(pcs)-len(stacktrace.OfUser(pcs))-1, 0):]
}
