package slab

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// meta has the metadata of a heap. They lie in a region of their own, without pointers: an overrun of an
// object cannot reach them, and the collector does not scan them.
//
//	┌────────────────┬─────────────────┬──────────────────────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//	│ entry per unit │ record per unit │ blocks of states, one a slab │ their sizes, if hardened
//	└────────────────┴─────────────────┴──────────────────────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
type meta struct {
	region  *region.Region
	entries table
	records table
	states  table
	sizes   table // a uint32 for each state; its region is nil unless the heap is hardened

	mu     sync.Mutex
	edge   int        // units whose entries and records are committed
	next   int        // where the next block of states goes
	spares [][]uint32 // blocks that are not in use, by their number of 64 bytes
}

// entry tells which slab a unit is in. Free reads nothing else to find a slot. It is written when the slab is
// made and when it is dropped, and is zero for a unit that is in no slab.
type entry struct {
	magic  uint64 // of the class
	states uint32 // the index of the state of the slab's first slot
	first  uint32 // the slab's first unit
	class  uint8
	_      [15]byte
}

// taken tells whether the unit is in a slab.
func (e *entry) taken() bool { return e.magic != 0 }

// record describes a slab, at its first unit. The lock of the class's depot guards it.
type record struct {
	next, prev uint32 // in the list of slabs with free slots: their units and 1, or 0
	free       uint32 // free slots
	hint       uint32 // no slot before has a free state, in words of 8
	fresh      uint32 // slots from here on were never handed out
	clean      bool   // slots from fresh on read zero
	owner      uint8  // the group of caches that takes its slots
	_          [10]byte
}

// The state of a slot.
const (
	stateFree   = 0 // in its slab, or no slot at all
	stateCached = 1 // in a magazine or in a batch
	stateLive   = 2 // an object
)

const maxStates = 1 << 31 // so that an item has a bit to spare, for cleanBit

// metaSizes returns how many bytes of addresses each table takes for a number of units.
func metaSizes(units int, hardened bool) (entries, records, states, sizes int) {
	page := guard.PageSize()
	entries = alignUp(units*int(unsafe.Sizeof(entry{})), page)
	records = alignUp(units*int(unsafe.Sizeof(record{})), page)
	states = alignUp(int(min(uint64(units)*(unit/granule+64), maxStates)), page)
	if hardened {
		sizes = states * 4
	}
	return entries, records, states, sizes
}

func openMeta(of *region.Region, units int, hardened bool) (m *meta, err error) {
	entries, records, states, sizes := metaSizes(units, hardened)
	r, err := region.Reserve(region.Config{Name: of.Name() + ": metadata", Size: entries + records + states + sizes, PartOf: of, DeferOnSoft: true})
	if err == nil {
		err = r.KeepZeroes(r.Size()) // so that a call after Close finds no object
	}
	if err != nil {
		return nil, err
	}
	m = &meta{region: r, spares: make([][]uint32, unit/granule/64+2)}
	for off, t := range map[int]*table{0: &m.entries, entries: &m.records, entries + records: &m.states} {
		*t = table{base: unsafe.Add(r.Base(), off), region: r, off: off}
	}
	if hardened {
		off := entries + records + states
		m.sizes = table{base: unsafe.Add(r.Base(), off), region: r, off: off}
	}
	return m, nil
}

func (m *meta) record(unit uint32) *record {
	return (*record)(unsafe.Add(m.records.base, uintptr(unit)*unsafe.Sizeof(record{})))
}

// blockSize returns the bytes for the states of a slab: whole CPU cache lines, because any goroutine may
// write them when it frees. There is one state more than slots, for the offset behind the last slot.
func blockSize(slots uint32) int { return alignUp(int(slots)+1, 64) }

// reserve returns a block of states for a slab, all free, and commits the entries and records of the units
// below edge.
func (m *meta) reserve(slots uint32, edge int) (states uint32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if edge > m.edge {
		if err := m.entries.reach(edge * int(unsafe.Sizeof(entry{}))); err != nil {
			return 0, err
		}
		if err := m.records.reach(edge * int(unsafe.Sizeof(record{}))); err != nil {
			return 0, err
		}
		m.edge = edge
	}
	size := blockSize(slots)
	if spare := &m.spares[size/64]; len(*spare) > 0 {
		states = (*spare)[len(*spare)-1]
		*spare = (*spare)[:len(*spare)-1]
		return states, nil
	}
	if uint64(m.next+size) > maxStates {
		return 0, fmt.Errorf("%q: more than %d objects: %w", m.region.Name(), uint32(maxStates), guard.ErrNoMemory)
	}
	if err := m.states.reach(m.next + size); err != nil {
		return 0, err
	}
	if m.sizes.region != nil {
		if err := m.sizes.reach((m.next + size) * 4); err != nil {
			return 0, err
		}
	}
	states = uint32(m.next)
	m.next += size
	return states, nil
}

// restore takes back a block of states, all of which are free.
func (m *meta) restore(slots, states uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spare := &m.spares[blockSize(slots)/64]
	*spare = append(*spare, states)
}
