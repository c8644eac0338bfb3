package stack

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// shape is where the stacks of a pool lie: what a Stack must know of its pool, which it cannot point
// to. The region is weak, so that a pool that nobody closed is noticed.
//
//	origin             cells
//	├──┬──┬──┬─ ─ ─────┼───────┬──────────┬───────┬──────────┬─ ─
//	│S0│S1│S2│         │ guard │ stack 0  │ guard │ stack 1  │
//	└──┴──┴──┴─ ─ ─────┴───────┴──────────┴───────┴──────────┴─ ─
//	                   ◀────── stride ───▶        ◀── size ──▶
type shape struct {
	name   string
	origin uintptr // the address of the first Stack
	cells  uintptr // from there to the guard of stack 0
	stride uintptr
	size   uintptr
	region weak.Pointer[region.Region]
}

// index is a stack's number.
func (sh *shape) index(s *Stack) uintptr {
	return (uintptr(unsafe.Pointer(s)) - sh.origin) / stackSize
}

// end is where the memory of a stack ends, as seen from it.
func (sh *shape) end(s *Stack) uintptr {
	i := sh.index(s)
	return sh.cells + (i+1)*sh.stride - i*stackSize
}

// offset is where the memory of a stack begins in the region.
func (sh *shape) offset(s *Stack) uintptr {
	return sh.cells + (sh.index(s)+1)*sh.stride - sh.size
}

// resident returns how many bytes below its end a stack has in RAM, with all that lies between; false
// where the system does not tell.
func (sh *shape) resident(s *Stack) (bytes uintptr, ok bool) {
	r := sh.region.Value()
	if r == nil {
		return 0, false
	}
	off := int(sh.offset(s))
	at, err := r.FirstResident(off, int(sh.size))
	if err != nil {
		return 0, false
	}
	return uintptr(off + int(sh.size) - at), true
}

// shapes are those of all open pools. Readers take no lock.
var shapes struct {
	mu sync.Mutex
	of atomic.Pointer[[]*shape]
}

// enter takes a shape in, and returns its number.
func (sh shape) enter() uint32 {
	shapes.mu.Lock()
	defer shapes.mu.Unlock()
	var all []*shape
	if p := shapes.of.Load(); p != nil {
		all = slices.Clone(*p)
	}
	i := slices.Index(all, nil)
	if i < 0 {
		i = len(all)
		all = append(all, nil)
	}
	all[i] = &sh
	shapes.of.Store(&all)
	return uint32(i)
}

// leave takes a shape out, whose stacks are used no more.
func leave(number uint32) {
	shapes.mu.Lock()
	defer shapes.mu.Unlock()
	all := slices.Clone(*shapes.of.Load())
	all[number] = nil
	shapes.of.Store(&all)
}

func (s *Stack) shapeOf() *shape { return (*shapes.of.Load())[s.shape] }
