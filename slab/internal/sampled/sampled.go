// Package sampled is the guarded slots that sampled allocations are served from: see slab.Sampling.
//
//	┌─ ─ ─ ─┬────────────────────────────┬─ ─ ─ ─┬─ ─ ─ ─┬────────────────────────────┬─ ─
//	  aside │ room ┌──────┬──────┐        aside │  aside │ room         ┌──────┬──────┐
//	        │      │object│canary│       │       │        │              │canary│object│ aside
//	└─ ─ ─ ─┴──────┴──────┴──────┴───────┴─ ─ ─ ─┴─ ─ ─ ─┴──────────────┴──────┴──────┴─ ─
//	                slot                                   slot
//
// A slot's object lies at the start or at the end of its room, by a coin, and only the OS pages that it
// touches are accessible, and only as long as it is allocated: see pages.go.
//
// # Life of a slot
//
//	       Alloc            Free
//	free ────────▶  live  ────────▶  freed  ─ ─ the oldest first ─ ─▶  live  …
//
// Slots are free for the first time, or freed, in one queue. The region is mapped for the first
// sampled allocation, and stays as long as the program.
//
// All functions may be called by any number of goroutines.
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

// What a slot has on either side of its room is whole OS pages, of 64 KiB too.
var (
	aside  = max(32<<10, uintptr(region.PageSize()))
	stride = MostSize + 2*aside
)

// What is committed by itself is two mappings more of those that the process may hold, and when there
// are none left the Go runtime dies. So slots have three eighths. Tests have less.
var (
	mostLive = vm.Probe().Mappings() / 8  // slots that are live at a time, each two
	mostKept = vm.Probe().Mappings() / 32 // slots whose edges stay committed, each four
)

// defaultReserve leaves addresses to Go and the heaps. Tests have fewer.
var defaultReserve = region.DefaultReserve

// slots are all slots, and the region they lie in.
type slots struct {
	region *region.Region
	base   uintptr
	all    []slot

	mu    sync.Mutex // of what follows, and of what the slots hold
	queue []uint32   // slots that are not live, a ring
	next  int        // the oldest in it
	n     int        // slots in it
	sites sites
}

// slot is one, and the object that is there, or was last.
type slot struct {
	watch       *trap.Cell
	from, to    int  // of the region: what is committed, but for edges behind guards
	first, last bool // the edges are there, behind guards
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

// open maps the slots, unless they are.
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
	_ = trap.Install() // where it cannot be, nothing is reported
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

// at returns the slot that an address lies in.
func (s *slots) at(addr uintptr) (i uint32, ok bool) {
	off := addr - s.base // wraps below the base
	return uint32(off / stride), off/stride < uintptr(len(s.all))
}

// find returns the slot whose live object starts at p, and is an owner's. mu is held.
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

// explain says what a fault in the region is of.
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

// report is what is said of a fault that ends the program: what explain says.
func (x *slot) report() *trap.Report {
	r := &trap.Report{Base: uintptr(x.p), Size: uintptr(x.size), Region: fmt.Sprintf("%q", x.name), Allocated: x.allocated, Freed: x.freed}
	if r.Before, r.Inside, r.Beyond = string(region.Underflow), string(region.Protected), string(region.Overflow); !x.live {
		freed := string(region.UseAfterFree)
		r.Before, r.Inside, r.Beyond = freed, freed, freed
	}
	return r
}
