//go:build race

package slab

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// marks stand for the slots before the race detector, which knows of the Go heap only: a word for
// each state, made when it is needed. To allocate an object and to free it is to write that word.
// That the one comes before the other when a slot is used again, it learns from the locks of
// magazines and depots: so what is freed is marked before it goes there, what is allocated when it
// came from there.
type marks [maxStates / markTables / marksPerTable]atomic.Pointer[[markTables]atomic.Pointer[[marksPerTable]uint64]]

const (
	markTables    = 1 << 10
	marksPerTable = 1 << 11
)

// at finds the mark of a state. That must not order what goroutines do, so the detector is not told
// how they share the table.
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

// markAlloc is called for a slot that became an object's.
func (h *Heap) markAlloc(state uint32) {
	runtime.RaceWrite(h.marks.at(state))
}

func (h *Heap) markRead(p unsafe.Pointer) {
	if at := h.markOf(p); at != nil {
		runtime.RaceRead(at)
	}
}

// markWrite is for whoever writes to the object at p, and frees it.
func (h *Heap) markWrite(p unsafe.Pointer) {
	if at := h.markOf(p); at != nil {
		runtime.RaceWrite(at)
	}
}

// markOf finds the mark of the slot that p lies in, an object's or not; nil if it lies in no slab.
func (h *Heap) markOf(p unsafe.Pointer) unsafe.Pointer {
	if h == nil {
		return nil
	}
	off := uintptr(p) - uintptr(h.base)
	if off>>unitBits >= uintptr(h.edge.Load()) {
		return nil
	}
	e, state, _ := h.find(off)
	if !e.taken() {
		return nil
	}
	return h.marks.at(state)
}

// used shows the detector that what was done comes before what the recovery does, if the Local is
// dropped: see acquire. It does not order two goroutines that use
// one Local, for these only release.
func (l *Local) used() {
	runtime.RaceReleaseMerge(unsafe.Pointer(&l.cache.magazines))
}

// acquire is called by the recovery of a Local before it looks at the cache.
func (pc *cache) acquire() { runtime.RaceAcquire(unsafe.Pointer(&pc.magazines)) }
