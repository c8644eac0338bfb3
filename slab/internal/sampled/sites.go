package sampled

import (
	"runtime"

	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// sites caches stacks as texts, by their program counters. Printing a stack takes longer than all the rest of an
// allocation, and a program has few.
type sites map[[deepest]uintptr]string

const (
	deepest   = 32   // program counters of a stack
	mostSites = 4096 // stacks in the cache
)

// here returns the stack of the call of the allocator. Caller does not hold s.mu.
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

// ofAllocator cuts the functions inside the allocator off a stack, except for the one that the user called.
func ofAllocator(pcs []uintptr) []uintptr {
	return pcs[max(len(pcs)-len(stacktrace.OfUser(pcs))-1, 0):]
}
