// Package sampled decides which allocations of slab are sampled, and serves these from guarded slots: see
// slab.Sampling.
//
//	┌─ ─ ─ ─┬────────────────────────────┬─ ─ ─ ─┬─ ─ ─ ─┬────────────────────────────┬─ ─
//	  aside │ room ┌──────┬──────┐        aside │  aside │ room         ┌──────┬──────┐
//	        │      │object│canary│       │       │        │              │canary│object│ aside
//	└─ ─ ─ ─┴──────┴──────┴──────┴───────┴─ ─ ─ ─┴─ ─ ─ ─┴──────────────┴──────┴──────┴─ ─
//	                slot                                   slot
//
// An object lies at the start or at the end of the room of its slot; a coin decides. Only the OS pages that it
// touches are accessible, and only while it is allocated. The rest of these pages is canary: a fixed pattern, which
// Free compares.
//
// # Life of a slot
//
//	       Alloc            Free
//	free ────────▶  live  ────────▶  freed  ─ ─ the oldest first ─ ─▶  live  …
//
// Step by step:
//
//  1. The region of all slots is reserved for the first sampled allocation, and stays as long as the program.
//  2. Slots that are not live wait in one queue. Alloc takes the oldest, makes the pages of its object
//     accessible, and paints the canary.
//  3. Free compares the canary and makes the pages inaccessible. The slot keeps the stacks of Alloc and Free, for
//     the fault of a late touch, and goes to the end of the queue.
//
// # Concurrency
//
//  1. Any number of goroutines may call all functions.
//  2. slots.mu guards the queue and the state of the slots. It is not held while pages are committed, guarded or
//     painted: a slot that is in neither the queue nor live belongs to one goroutine.
//
// # Cost
//
// A draw (Draw) takes some nanoseconds, once in 4096 allocations or fewer. A sampled object takes some 10 µs.
//
// # Files
//
//	sampling.go   the settings; which allocations are sampled
//	sampled.go    slots, faults in them, reports
//	alloc.go      Alloc, Free, Close
//	pages.go      which OS pages of a slot are accessible
//	objects.go    sizes, owners, iteration, names for handles
//	sites.go      stacks as texts
package sampled

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// MostSize is the largest object in bytes.
const MostSize = 1 << 20

// MostGeneration is the largest generation of the objects in a slot.
const MostGeneration = 1<<31 - 1

// aside is the inaccessible bytes on either side of a room: whole OS pages, also where these have 64 KiB. stride is the
// bytes of a slot.
var (
	aside  = max(32<<10, uintptr(region.PageSize()))
	stride = MostSize + 2*aside
)

// A stretch that is committed by itself takes two of the mappings that the process may hold, and the Go runtime dies
// without mappings. So slots take at most three eighths of them. Tests set less.
var (
	mostLive = vm.Probe().Mappings() / 8  // slots that are live at a time, two mappings each
	mostKept = vm.Probe().Mappings() / 32 // slots whose edges stay committed, four mappings each
)

// defaultReserve leaves addresses to Go and the heaps. Tests leave fewer.
var defaultReserve = region.DefaultReserve

// slots holds all slots, and the region that they lie in.
type slots struct {
	region *region.Region
	base   uintptr
	all    []slot

	mu    sync.Mutex // guards the fields below, and the objects of the slots
	queue []uint32   // slots that are not live, a ring
	next  int        // index of the oldest
	n     int        // slots in the queue
	sites sites
}

// slot is a slot, and the object in it, or else the last one.
type slot struct {
	watch       *trap.Cell
	from, to    int  // committed stretch, as offsets in the region; without edges behind guards
	first, last bool // the edge is committed, behind a guard
	generation  uint32

	live             bool
	owner            uintptr // 0 if there never was an object
	name             string  // of the owner
	p                unsafe.Pointer
	size             int
	allocated, freed string // stacks
}

var (
	opened  atomic.Pointer[slots] // nil until something is sampled
	opening sync.Mutex
)

// open returns the slots, and reserves them before.
func open() (*slots, error) {
	if s := opened.Load(); s != nil {
		return s, nil
	}
	opening.Lock()
	defer opening.Unlock()
	if s := opened.Load(); s != nil {
		return s, nil
	}
	size, err := defaultReserve(Slots() * int(stride))
	if err != nil {
		return nil, err
	}
	r, err := region.Reserve(region.Config{Name: "sampled", Size: size, MinSize: int(stride), DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	_ = region.ReportFaults() // without it a fault that ends the program is not reported
	n := r.Size() / int(stride)
	s := &slots{region: r, base: uintptr(r.Base()), all: make([]slot, n), queue: make([]uint32, n), n: n, sites: sites{}}
	watched := trap.WatchCells(s.base, stride, n)
	for i := range s.all {
		s.all[i].watch, s.queue[i] = &watched[i], uint32(i)
	}
	r.Explain(s.explain)
	opened.Store(s)
	return s, nil
}

// at returns the slot that contains an address.
func (s *slots) at(addr uintptr) (i uint32, ok bool) {
	off := addr - s.base // wraps below the base
	return uint32(off / stride), off/stride < uintptr(len(s.all))
}

// find returns the slot whose live object starts at p, if it belongs to the owner. Caller holds s.mu.
func (s *slots) find(owner uintptr, p unsafe.Pointer) (i uint32, ok bool) {
	if i, ok = s.at(uintptr(p)); !ok {
		return 0, false
	}
	x := &s.all[i]
	return i, x.live && x.p == p && x.owner == owner
}

// Holds tells whether an address lies among the slots.
func Holds(p unsafe.Pointer) bool {
	s := opened.Load()
	if s == nil {
		return false
	}
	_, ok := s.at(uintptr(p))
	return ok
}

// explain completes a fault in the region with the object that was touched.
func (s *slots) explain(f *region.Fault) {
	i, ok := s.at(f.Addr)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.all[i]
	if x.owner == 0 {
		return
	}
	start := uintptr(x.p)
	switch {
	case !x.live:
		f.Kind = region.UseAfterFree
	case f.Addr < start:
		f.Kind = region.Underflow
	case f.Addr-start >= uintptr(x.size):
		f.Kind = region.Overflow
	}
	f.Region, f.Offset, f.Size, f.Allocated, f.Freed = x.name, int(f.Addr-start), x.size, x.allocated, x.freed
}

// report returns the report of a fault that ends the program, with the figures that explain gives.
func (x *slot) report() *trap.Report {
	kinds := &liveKinds
	if !x.live {
		kinds = &freedKinds
	}
	return &trap.Report{Base: uintptr(x.p), Size: uintptr(x.size), Kinds: kinds, Region: fmt.Sprintf("%q", x.name), Allocated: x.allocated, Freed: x.freed}
}

// The kinds of touches of a slot whose object is live, and of one whose object is freed.
var (
	liveKinds  = trap.Kinds{Before: string(region.Underflow), Inside: string(region.Protected), Beyond: string(region.Overflow)}
	freedKinds = trap.Kinds{Before: string(region.UseAfterFree), Inside: string(region.UseAfterFree), Beyond: string(region.UseAfterFree)}
)
