//go:build race

package slab

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// marks stand for the slots in the eyes of the race detector, which knows the Go heap only. There is a word
// for each state, made when it is needed, and Alloc and Free write it. The detector learns the order of a
// Free and the next Alloc of the slot from the locks of caches and depots. So Free writes the mark before
// the slot goes there, and Alloc writes it after the slot came from there.
type marks [slots.MaxStates / markTables / marksPerTable]atomic.Pointer[[markTables]atomic.Pointer[[marksPerTable]uint64]]

const (
	markTables    = 1 << 10
	marksPerTable = 1 << 11
)

// at finds the mark of a state. This must not synchronise goroutines, so the detector does not see how they
// share the table.
func (m *marks) at(state uint32) unsafe.Pointer {
	runtime.RaceDisable()
	defer runtime.RaceEnable()
	few := made(&m[state/marksPerTable/markTables])
	many := made(&few[state/marksPerTable%markTables])
	return unsafe.Pointer(&many[state%marksPerTable])
}

func made[T any](at *atomic.Pointer[T]) *T {
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(T))
	}
	return at.Load()
}

// markAlloc marks the slot of a new object as written.
func (h *Heap) markAlloc(state uint32) {
	runtime.RaceWrite(h.marks.at(state))
}

func (h *Heap) markRead(p unsafe.Pointer) {
	if at := h.markOf(p); at != nil {
		runtime.RaceRead(at)
	}
}

// markWrite marks the object at p as written, if p lies in a slab. Free calls it, too.
func (h *Heap) markWrite(p unsafe.Pointer) {
	if at := h.markOf(p); at != nil {
		runtime.RaceWrite(at)
	}
}

// markOf finds the mark of the slot that p lies in, live or not; nil if p lies in no slab.
func (h *Heap) markOf(p unsafe.Pointer) unsafe.Pointer {
	if h == nil {
		return nil
	}
	it, ok := h.slots.Around(p)
	if !ok {
		return nil
	}
	return h.marks.at(it.State())
}

// used ends each use of a Local. It tells the detector that the use comes before the recovery of a dropped
// Local: see acquire. It does not order two goroutines that use one Local, because these only release.
func (l *Local) used() {
	runtime.RaceReleaseMerge(unsafe.Pointer(&l.cache.magazines))
}

// acquire is called by the recovery of a Local before it looks at the cache.
func (pc *cache) acquire() { runtime.RaceAcquire(unsafe.Pointer(&pc.magazines)) }
