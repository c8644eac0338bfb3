package stack

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// layout says where the stacks of a pool lie. A Stack lies off-heap and cannot point to its Pool, so it
// finds its layout by a number. The layout points to the region weakly: else a pool that was lost
// without Close would never be reported.
//
//	origin             origin+firstGuard
//	├──┬──┬──┬─ ─ ─────┼───────┬──────────┬───────┬──────────┬─ ─
//	│S0│S1│S2│         │ guard │ stack 0  │ guard │ stack 1  │
//	└──┴──┴──┴─ ─ ─────┴───────┴──────────┴───────┴──────────┴─ ─
//	                   ◀────── stride ───▶        ◀── size ──▶
type layout struct {
	name       string
	origin     uintptr // the address of the first Stack
	firstGuard uintptr // bytes from origin to the guard of stack 0
	stride     uintptr // bytes of a stack and its guard
	size       uintptr // bytes of a stack
	region     weak.Pointer[region.Region]
}

// index returns the number of a stack in its pool.
func (l *layout) index(s *Stack) uintptr {
	return (uintptr(unsafe.Pointer(s)) - l.origin) / stackSize
}

// end returns the distance from a Stack to the end of its memory.
func (l *layout) end(s *Stack) uintptr {
	i := l.index(s)
	return l.firstGuard + (i+1)*l.stride - i*stackSize
}

// offset returns the distance from the region's base to the memory of a stack.
func (l *layout) offset(s *Stack) uintptr {
	return l.firstGuard + (l.index(s)+1)*l.stride - l.size
}

// resident returns the distance from the lowest OS page of a stack that is in RAM to the stack's end. ok
// is false where the system does not say.
func (l *layout) resident(s *Stack) (bytes uintptr, ok bool) {
	r := l.region.Value()
	if r == nil {
		return 0, false
	}
	off := int(l.offset(s))
	at, err := r.FirstResident(off, int(l.size))
	if err != nil {
		return 0, false
	}
	return uintptr(off + int(l.size) - at), true
}

// layouts has the layouts of all open pools, by number. Readers take no lock.
var layouts struct {
	mu sync.Mutex
	of atomic.Pointer[[]*layout]
}

// register adds a layout and returns its number.
func (l layout) register() uint32 {
	layouts.mu.Lock()
	defer layouts.mu.Unlock()
	var all []*layout
	if p := layouts.of.Load(); p != nil {
		all = slices.Clone(*p)
	}
	i := slices.Index(all, nil)
	if i < 0 {
		i = len(all)
		all = append(all, nil)
	}
	all[i] = &l
	layouts.of.Store(&all)
	return uint32(i)
}

// unregister removes a layout. Its stacks are not used any more.
func unregister(number uint32) {
	layouts.mu.Lock()
	defer layouts.mu.Unlock()
	all := slices.Clone(*layouts.of.Load())
	all[number] = nil
	layouts.of.Store(&all)
}

// layoutOf returns the layout of the stack's pool.
func (s *Stack) layoutOf() *layout { return (*layouts.of.Load())[s.layout] }
