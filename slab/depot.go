package slab

import (
	"cmp"
	"slices"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
	"github.com/seed-9a6c551e/offheap/slab/internal/slots"
)

// batch is the unit of exchange between magazines and the depot: half a magazine.
type batch [sizeclass.MostCached / 2]slots.Item

// owners is the number of groups of caches: one for all processors, because goroutines move between them and
// would leave slabs behind, and seven for the Locals. A slab serves one group as long as there are slabs for
// the others. So two Locals do not write to the same CPU cache line, neither to small objects nor to their
// states: replacing objects on two goroutines takes 68 ns a pair instead of 105.
const (
	owners     = 8
	processors = 0
)

// depot has the slabs of a class, and batches of slots that one magazine gave and another may take.
type depot struct {
	mu        sync.Mutex
	batches   []batch
	givers    []uint8            // the owner that gave each batch
	untaken   int                // batches that nobody took since settle looked last
	partial   [owners]slots.List // slabs with free slots
	empty     slots.List         // an empty slab that is kept for a while
	slabs     int
	free      int        // free slots in slabs
	abandoned int        // slots: see abandon
	asks      int        // requests: see note
	asked     int        // bytes of these requests
	withheld  quarantine // of a hardened heap
	flushes   uint32     // calls of flush
	changes   uint32     // only with -tags invariants
	_         [64]byte
}

// maxBatches and maxBatchBytes bound the batches of a depot.
const (
	maxBatches    = 16
	maxBatchBytes = 512 << 10
)

// note counts a request and its size, for Stats.Waste: the requests that reach the depot are a sample of all
// requests. Old ones count less and less.
func (d *depot) note(size int) {
	d.asked += size
	if d.asks++; d.asks == 1024 {
		d.asked, d.asks = d.asked/2, d.asks/2
	}
}

// giveBack returns cached slots to their slabs.
func (h *Heap) giveBack(c uint8, items []slots.Item) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if !h.closed.Load() {
		h.returnToSlabs(c, d, items)
	}
	h.note()
}

// stockUp fills out, or a part of it, with cached slots: a batch, or slots of slabs.
func (h *Heap) stockUp(c, owner uint8, size int, out []slots.Item) (n int, err error) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.closed.Load() {
		return 0, guard.ErrClosed
	}
	defer h.checked(c, d)
	d.note(size)
	if n = d.take(c, owner, true, out); n > 0 {
		return n, nil
	}
	for n < len(out) {
		if d.partial[owner] == 0 {
			if n > 0 {
				copy(out, out[len(out)-n:])
				return n, nil
			}
			if d.empty == 0 {
				if n = d.take(c, owner, false, out); n > 0 {
					return n, nil
				}
			}
			if err := h.findSlab(c, owner, d); err != nil {
				return 0, err
			}
		}
		n += h.takeFree(d, d.partial[owner].First(), out[:len(out)-n])
	}
	return n, nil
}

// takeFree takes free slots of a slab that has some, and fills out with them from its end downwards. Caller holds d.mu.
func (h *Heap) takeFree(d *depot, first uint32, out []slots.Item) (n int) {
	r := h.slots.Record(first)
	n = h.slots.Take(first, out)
	d.free -= n
	if r.Free == 0 {
		h.slots.Unlink(&d.partial[r.Owner], first)
	}
	return n
}

// findSlab links a slab to an owner that has none with free slots: the empty slab, a new slab, or a slab of
// another owner. It takes the last if other owners have many free slots, or if there is no memory. Caller holds d.mu.
func (h *Heap) findSlab(c, owner uint8, d *depot) error {
	if d.empty != 0 {
		first := d.empty.First()
		h.slots.Unlink(&d.empty, first)
		h.link(d, first, owner)
		return nil
	}
	var err error
	if d.free == 0 || d.free*spareShare < d.slabs*int(sizeclass.Table[c].Slots) {
		if err = h.grow(c, owner, d); err == nil {
			return nil
		}
	}
	for i := range d.partial {
		if d.partial[i] != 0 {
			first := d.partial[i].First()
			h.slots.Unlink(&d.partial[i], first)
			h.link(d, first, owner)
			return nil
		}
	}
	return err
}

// link puts a slab that is in no list into the list of an owner.
func (h *Heap) link(d *depot, first uint32, owner uint8) {
	h.slots.Record(first).Owner = owner
	h.slots.Push(&d.partial[owner], first)
}

// spareShare bounds the free slots in slabs of other owners: if more than a spareShare-th of a class's slots
// are free, findSlab takes one of these slabs and makes no new one.
const spareShare = 8

// take moves a batch to out: one that the owner gave, or with own false any one. n is 0 if there is none.
func (d *depot) take(c, owner uint8, own bool, out []slots.Item) (n int) {
	for i := len(d.batches) - 1; i >= 0 && len(out) > 1 && len(out) >= int(sizeclass.Table[c].MaxCached/2); i-- {
		if own && d.givers[i] != owner {
			continue
		}
		n = copy(out, d.batches[i][:sizeclass.Table[c].MaxCached/2])
		d.batches, d.givers = slices.Delete(d.batches, i, i+1), slices.Delete(d.givers, i, i+1)
		d.untaken = min(d.untaken, len(d.batches))
		return n
	}
	return 0
}

// abandon counts a slot that stays cached for ever, in no list.
func (d *depot) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned++
}

// flush takes slots that have no room in a magazine: it keeps them as a batch, or returns them to their slabs. look
// says that it is time to look at the clock, which takes 70 ns on some systems: of 64 Frees one flushes.
func (h *Heap) flush(c, owner uint8, items []slots.Item) (look bool, bad *guard.Violation) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.closed.Load() {
		return false, h.closedViolation("Free")
	}
	defer h.note()
	d.flushes++
	look = d.flushes%flushesPerLook == 0
	half, most := int(sizeclass.Table[c].MaxCached/2), maxBatches
	if h.hard != nil {
		items, most = d.withheld.withhold(c, items), mixedBatches(c)
	}
	if len(items) == half && half > 0 && len(d.batches) < min(most, maxBatchBytes/(half*int(sizeclass.Table[c].Pitch))) {
		d.batches = append(d.batches, batch{})
		copy(d.batches[len(d.batches)-1][:], items)
		d.givers = append(d.givers, owner)
		return look, nil
	}
	return look, h.returnToSlabs(c, d, items)
}

const flushesPerLook = 4

// returnToSlabs puts slots of a class back into their slabs. It leaves out an item that is no cached slot
// and returns the violation: the caller raises it when its own work is done. Caller holds d.mu.
func (h *Heap) returnToSlabs(c uint8, d *depot, items []slots.Item) (bad *guard.Violation) {
	defer h.checked(c, d)
	most := sizeclass.Table[c].Slots
	for len(items) > 0 {
		n, first, r := h.slots.Return(c, items)
		if n == 0 {
			bad = cmp.Or(bad, h.freedTwice("Free", items[0]))
			items = items[1:]
			continue
		}
		items = items[n:]
		d.free += n
		if r.Free == 1 || r.Free == most {
			h.relist(c, d, first)
		}
	}
	return bad
}

// relist puts a slab into the list that it belongs to, now that it has its first free slot or its last. Caller holds d.mu.
func (h *Heap) relist(c uint8, d *depot, first uint32) {
	r := h.slots.Record(first)
	list := &d.partial[r.Owner]
	if r.Free == 1 {
		h.slots.Push(list, first)
	}
	if r.Free == sizeclass.Table[c].Slots {
		h.slots.Unlink(list, first)
		if d.empty == 0 {
			h.slots.Push(&d.empty, first)
		} else {
			h.drop(c, d, first)
		}
	}
}

// grow makes a slab and links it to an owner. Caller holds d.mu.
func (h *Heap) grow(c, owner uint8, d *depot) error {
	k := &sizeclass.Table[c]
	size := int(k.Units) * unit
	if err := h.charge(size); err != nil {
		return err
	}
	first, clean, err := h.space.Take(int(k.Units), ticks())
	if err != nil {
		h.refund(size)
		return err
	}
	if c == sizeclass.Zero {
		err = h.region.Guard(first*unit, size)
	}
	if err == nil {
		err = h.slots.Add(c, first, clean)
	}
	if err != nil {
		h.space.Give(first, int(k.Units), ticks())
		h.refund(size)
		return err
	}
	h.link(d, uint32(first), owner)
	h.account.Reach()
	if d.slabs++; d.slabs == 1 {
		h.inUse[c/64].Or(1 << (c % 64))
	}
	d.free += int(k.Slots)
	return nil
}

// drop makes an empty slab's units free. The slab is in no list. Caller holds d.mu.
func (h *Heap) drop(c uint8, d *depot, first uint32) {
	k := &sizeclass.Table[c]
	if d.slabs--; d.slabs == 0 {
		h.inUse[c/64].And(^(uint64(1) << (c % 64)))
	}
	d.free -= int(k.Slots)
	h.slots.Remove(first)
	h.space.Give(int(first), int(k.Units), ticks())
	h.refund(int(k.Units) * unit)
}

// charge charges a new slab to the account, unless that counts what is committed (Config.LimitCommitted).
func (h *Heap) charge(size int) error {
	if h.config.LimitCommitted {
		return nil
	}
	return h.account.Charge(size)
}

// refund undoes charge.
func (h *Heap) refund(size int) {
	if !h.config.LimitCommitted {
		h.account.Refund(size)
	}
}
