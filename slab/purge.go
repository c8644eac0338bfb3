package slab

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// What is free goes back to the system after a while: slots that wait in a depot go into their
// slabs, empty slabs into units, and units that nobody took for decay are decommitted. There is no
// goroutine for it: whoever takes the slow path looks whether it is time.
const (
	decay = 500 // ticks that a unit stays committed when it is free
	beat  = 100 // ticks between looks

	// keptEnough is how many bytes the world is stopped for after a pause.
	keptEnough = 1 << 20
)

// mayDecay is called on slow paths of an open heap, without locks held, by a Local or, nil, a
// processor.
func (h *Heap) mayDecay(l *Local) (bad *guard.Violation) {
	if bad = h.dropped.violation(); bad != nil {
		return bad
	}
	now, last := ticks(), h.looked.Load()
	if now-last < beat || !h.looked.CompareAndSwap(last, now) {
		return nil
	}
	idle := now-last >= decay // nobody was here for so long: all that is free has been since then
	age := uint32(decay)
	if idle {
		age = 0
		if l != nil {
			bad = h.empty(l.front)
		}
		if h.kept() >= keptEnough {
			bad = cmp.Or(bad, h.emptyProcessors(h.stock())) // not what is in quarantine
		}
	}
	for c := range h.depots {
		bad = cmp.Or(bad, h.settle(uint8(c), idle))
	}
	_ = h.space.cool(age) // what the kernel does not take now stays free
	return bad
}

// settle brings batches home that nobody took since the last time, or all.
func (h *Heap) settle(c uint8, all bool) (bad *guard.Violation) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.unasked
	if all {
		n = len(d.batches)
	}
	for i := range d.batches[:n] {
		bad = cmp.Or(bad, h.bringHome(c, d, d.batches[i][:classes[c].most/2]))
	}
	d.batches, d.gave = slices.Delete(d.batches, 0, n), slices.Delete(d.gave, 0, n)
	d.unasked = len(d.batches)
	if first := d.empty; first != 0 {
		d.empty = 0
		h.drop(c, d, first-1)
	}
	return bad
}

// settleAll brings home all that depots have, withheld or not.
func (h *Heap) settleAll() (bad *guard.Violation) {
	for c := range h.depots {
		bad = cmp.Or(bad, h.release(uint8(c)), h.settle(uint8(c), true))
	}
	return bad
}

// reclaim is what is tried before a request for memory fails. It tells whether there was anything.
// What the Local holds that asks, if it is one, is taken, and what processors hold once in a while,
// because that stops the world.
func (h *Heap) reclaim(l *Local) bool {
	before, used := guard.Committed(), h.account.bytes()
	var bad *guard.Violation
	if l != nil {
		bad = h.empty(l.front)
	}
	now, last := ticks(), h.emptied.Load()
	if now-last >= beat && h.emptied.CompareAndSwap(last, now) {
		bad = cmp.Or(bad, h.emptyProcessors(h.allFronts()...))
	}
	bad = cmp.Or(bad, h.settleAll())
	_ = errors.Join(h.space.cool(0), h.sweepLarge())
	raise(bad)
	return guard.Committed() < before || h.account.bytes() < used
}

// Purge gives everything back to the system that is free now, but for what Locals hold. It stops
// the world for some microseconds, to take the slots that processors hold. The error is the
// kernel's; what it did not take stays free, and is tried again.
func (h *Heap) Purge() error {
	h.usable("Purge")
	bad := cmp.Or(h.dropped.violation(), h.emptyProcessors(h.allFronts()...), h.settleAll())
	err := errors.Join(h.space.cool(0), h.sweepLarge())
	raise(bad)
	return err
}

// kept is how much memory the processors may keep from going back: each slot that one of them holds
// can be in another slab.
func (h *Heap) kept() (bytes int) {
	var n [mostClasses]int
	h.stock().count(&n)
	for c := range h.depots {
		d := &h.depots[c]
		d.mu.Lock()
		bytes += min(n[c], d.slabs) * int(classes[c].units) * unit
		d.mu.Unlock()
	}
	return bytes
}

// emptyProcessors brings home what all processors hold in some sets of fronts.
func (h *Heap) emptyProcessors(of ...*fronts) (bad *guard.Violation) {
	var taken []*front
	for _, fs := range of {
		for i := range fs.of {
			if f := fs.of[i].Swap(nil); f != nil {
				taken = append(taken, f)
			}
		}
	}
	if len(taken) == 0 {
		return nil
	}
	// A goroutine may have found its front just before. It is pinned while it uses it, and the
	// world does not stop before it has let go.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for _, f := range taken {
		bad = cmp.Or(bad, h.empty(f))
	}
	return bad
}

// ticks is a clock of milliseconds that wraps after 49 days. Tests have their own.
var ticks = func() uint32 { return uint32(time.Since(start).Milliseconds()) }

var start = time.Now()
