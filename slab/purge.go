package slab

import (
	"cmp"
	"errors"
	"iter"
	"math/bits"
	"slices"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/slab/internal/account"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Free memory goes back to the system after a while: slots that wait in a depot go into their slabs, empty slabs
// into units, and units that nobody took for decayAfter are decommitted. Freed large objects are closed after as
// long. There is no goroutine for it: slow paths look whether it is time.
const (
	decayAfter = 500 // ticks that a unit stays committed when it is free

	// minDrainGain is how many cached bytes make it worth stopping the world to collect them.
	minDrainGain = 1 << 20
)

// decay is called on slow paths of an open heap, without locks held. now is in ticks.
func (k client) decay(now uint32) (bad *guard.Violation) {
	h := k.heap
	if bad = h.dropped.violation(); bad != nil {
		return bad
	}
	since, ok := h.look.Pass(now)
	if !ok {
		return nil
	}
	idle := since >= decayAfter // nobody was here for so long: all that is free has been since then
	age := uint32(decayAfter)
	if idle {
		age = 0
		if k.cache != nil {
			bad = h.drain(k.cache)
		}
		if h.drainGain() >= minDrainGain {
			bad = cmp.Or(bad, h.drainProcessors(h.stock)) // not the caches that lead to quarantine
		}
	}
	for c := range h.classesInUse() {
		bad = cmp.Or(bad, h.settle(c, idle))
	}
	_ = h.space.Purge(age, now) // what the kernel does not take now stays free
	h.coolLarge(now)
	return bad
}

// classesInUse iterates over the classes that have slabs: of others nothing is cached anywhere.
func (h *Heap) classesInUse() iter.Seq[uint8] {
	return func(yield func(uint8) bool) {
		for i := range h.inUse {
			for w := h.inUse[i].Load(); w != 0; w &= w - 1 {
				if !yield(uint8(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// settle returns the slots of batches to their slabs: of all batches, or of those that nobody took since
// the last call.
func (h *Heap) settle(c uint8, all bool) (bad *guard.Violation) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.closed.Load() {
		return nil
	}
	n := d.untaken
	if all {
		n = len(d.batches)
	}
	for i := range d.batches[:n] {
		bad = cmp.Or(bad, h.returnToSlabs(c, d, d.batches[i][:sizeclass.Table[c].MaxCached/2]))
	}
	d.batches, d.givers = slices.Delete(d.batches, 0, n), slices.Delete(d.givers, 0, n)
	d.untaken = len(d.batches)
	if d.empty != 0 {
		first := d.empty.First()
		h.slots.Unlink(&d.empty, first)
		h.drop(c, d, first)
	}
	return bad
}

// settleAll returns all slots in depots to their slabs, those in quarantine too.
func (h *Heap) settleAll() (bad *guard.Violation) {
	for c := range h.classesInUse() {
		bad = cmp.Or(bad, h.release(c), h.settle(c, true))
	}
	return bad
}

// reclaim frees memory for a request that would fail because of cause, and tells whether it freed any. It
// returns the slots in depots to their slabs, and those in the caches of the Local and the processor that ask. Once in
// a while it drains the other processors' caches, too: that stops the world.
//
// A heap at its Limit refuses all the time, so it looks at depots only if slots went there since it looked
// last.
func (k client) reclaim(now uint32, cause error) bool {
	h := k.heap
	committed, used := guard.Committed(), 0
	limited, atLimit := cause.(*account.LimitError)
	if atLimit {
		used = limited.Used
	} else {
		used = h.account.Bytes()
	}
	var bad *guard.Violation
	if k.cache != nil {
		bad = h.drain(k.cache)
	}
	for _, t := range h.tables {
		percpu.Borrow(t, func(pc *cache) { bad = cmp.Or(bad, h.drain(pc)) })
	}
	if _, ok := h.drained.Pass(now); ok {
		bad = cmp.Or(bad, h.drainProcessors(h.tables...))
	}
	some := h.returned.Load() != returnedNone
	if some {
		bad = cmp.Or(bad, h.collect())
	}
	if !atLimit || h.config.LimitCommitted {
		_ = h.space.Purge(0, now)
		some = true
	}
	raise(bad)
	return some && (h.account.Bytes() < used || guard.Committed() < committed)
}

// Heap.returned says whether slots and leftovers came back to slabs and depots since they were collected
// last: none did, some did, or some are being collected.
const (
	returnedNone = iota
	returnedSome
	returnedTaken
)

// note says that there is something to collect. Call it when the slots are in their slabs or depot.
func (h *Heap) note() {
	if h.returned.Load() != returnedSome {
		h.returned.Store(returnedSome)
	}
}

// collect returns all slots in depots to their slabs, and makes free units of the slabs that are empty.
func (h *Heap) collect() (bad *guard.Violation) {
	h.collecting.Lock()
	defer h.collecting.Unlock()
	if h.returned.Load() == returnedNone {
		return nil // another goroutine did while this one waited
	}
	h.returned.Store(returnedTaken)
	bad = h.settleAll()
	_ = h.sweepLarge()
	h.returned.CompareAndSwap(returnedTaken, returnedNone)
	return bad
}

// Purge gives all free memory back to the system, freed large objects that are kept included, except for slots that
// Locals cache. It stops the world for some microseconds, to take the slots that processors cache. Any goroutine may
// call it. It panics with a *guard.Violation after Close.
//
// Some free memory lies between live objects, and decommitting it would take more mappings than the process may hold
// (vm.max_map_count): it goes out of RAM, but stays charged (Stats.Discarded). An error comes from the kernel. Memory
// that the kernel did not take stays free, and is tried again.
func (h *Heap) Purge() error {
	h.usable("Purge")
	bad := cmp.Or(h.dropped.violation(), h.drainProcessors(h.tables...), h.settleAll())
	err := errors.Join(h.space.Purge(0, ticks()), h.sweepLarge())
	raise(bad)
	if err != nil {
		h.usable("Purge")
	}
	return err
}

// drain returns all slots of a cache to their slabs. Nobody uses the cache meanwhile.
func (h *Heap) drain(pc *cache) (bad *guard.Violation) {
	for i := range pc.magazines {
		m := &pc.magazines[i]
		if m.len() == 0 {
			continue
		}
		c := uint8(i)
		d := &h.depots[c]
		d.mu.Lock()
		if !h.closed.Load() {
			bad = cmp.Or(bad, h.returnToSlabs(c, d, m.slots()))
		}
		d.mu.Unlock()
		m.n -= uint64(m.len())
		h.note()
	}
	return bad
}

// drainGain returns the most bytes that draining the processors could give back: each cached slot may be
// the last one that keeps a slab.
func (h *Heap) drainGain() (bytes int) {
	var n [sizeclass.Number]int
	countCached(h.stock, &n)
	for c := range h.classesInUse() {
		d := &h.depots[c]
		d.mu.Lock()
		bytes += min(n[c], d.slabs) * int(sizeclass.Table[c].Units) * unit
		d.mu.Unlock()
	}
	return bytes
}

// drainProcessors returns the slots in all caches of some tables to their slabs. It stops the world for
// some microseconds.
func (h *Heap) drainProcessors(of ...*percpu.Table[cache]) (bad *guard.Violation) {
	percpu.Drain(func(pc *cache) { bad = cmp.Or(bad, h.drain(pc)) }, of...)
	return bad
}

// ticks is the clock. Tests have their own.
var ticks = decay.Ticks
