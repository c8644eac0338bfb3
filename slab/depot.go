package slab

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// item names a cached slot: its place in granules from the base in the upper half, the index of its state in
// the lower one, with cleanBit. It is one word, so that a push is one store.
type item uint64

// cleanBit says that the slot reads zero. No state has so large an index.
const cleanBit = maxStates

func newItem(at, state uint32) item { return item(at)<<32 | item(state) }

// itemAt is newItem for a slot at an offset in bytes, a multiple of granule. It takes two instructions, where
// newItem takes four.
func itemAt(off uintptr, state uint32) item { return item(off)*(1<<32/granule) | item(state) }

func (it item) at() uint32    { return uint32(it >> 32) }
func (it item) state() uint32 { return uint32(it) &^ cleanBit }
func (it item) clean() bool   { return it&cleanBit != 0 }

// batch is the unit of exchange between magazines and the depot: half a magazine.
type batch [fullMagazine / 2]item

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
	givers    []uint8        // the owner that gave each batch
	untaken   int            // batches that nobody took since settle looked last
	partial   [owners]uint32 // the first of the slabs with free slots: its unit and 1, or 0
	empty     uint32         // an empty slab that is kept for a while: its unit and 1, or 0
	slabs     int
	free      int    // free slots in slabs
	abandoned int    // slots: see abandon
	asks      int    // requests: see note
	asked     int    // bytes of these requests
	changes   uint32 // only with -tags invariants
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

// refill fills out, or a part of it, with cached slots, for a request of size bytes by a Local, or by a
// processor if l is nil. The first slot is to be handed out last.
func (h *Heap) refill(l *Local, c uint8, size int, out []item) (n int, err error) {
	h.usable("Alloc")
	now := ticks()
	raise(h.decayAt(l, now))
	owner := uint8(processors)
	if l != nil {
		owner = l.owner
	}
	n, err = h.tryRefill(c, owner, size, out)
	if err != nil && h.reclaim(l, now, err) {
		n, err = h.tryRefill(c, owner, size, out)
	}
	if err != nil && region.Reclaim() {
		_ = h.sweepLarge() // large objects that OnSoft has freed
		n, err = h.tryRefill(c, owner, size, out)
	}
	if err != nil {
		h.usable("Alloc")
		return 0, prefixed(err)
	}
	region.ReclaimOr(func() { h.giveBack(c, out[:n]) })
	h.usable("Alloc") // OnSoft may have closed the heap
	return n, nil
}

// giveBack returns cached slots to their slabs.
func (h *Heap) giveBack(c uint8, items []item) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if !h.closed.Load() {
		h.returnToSlabs(c, d, items)
	}
	h.note()
}

func (h *Heap) tryRefill(c, owner uint8, size int, out []item) (n int, err error) {
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
		if h.hard != nil {
			out[len(out)-n-1] = h.pick(c, d, d.partial[owner]-1)
			n++
			continue
		}
		n += h.carve(c, d, d.partial[owner]-1, out[:len(out)-n])
	}
	return n, nil
}

// findSlab links a slab to an owner that has none with free slots: the empty slab, a new slab, or a slab of
// another owner. It takes the last if other owners have many free slots, or if there is no memory. Caller holds d.mu.
func (h *Heap) findSlab(c, owner uint8, d *depot) error {
	if first := d.empty; first != 0 {
		d.empty = 0
		h.link(d, first-1, owner)
		return nil
	}
	var err error
	if d.free == 0 || d.free*spareShare < d.slabs*int(classes[c].slots) {
		if err = h.grow(c, owner, d); err == nil {
			return nil
		}
	}
	first := d.anyPartial()
	if first == 0 {
		return err
	}
	h.unlink(d, first-1)
	h.link(d, first-1, owner)
	return nil
}

// spareShare bounds the free slots in slabs of other owners: if more than a spareShare-th of a class's slots
// are free, findSlab takes one of these slabs and makes no new one.
const spareShare = 8

// take moves a batch to out: one that the owner gave, or with own false any one. n is 0 if there is none.
func (d *depot) take(c, owner uint8, own bool, out []item) (n int) {
	for i := len(d.batches) - 1; i >= 0 && len(out) > 1 && len(out) >= int(classes[c].maxCached/2); i-- {
		if own && d.givers[i] != owner {
			continue
		}
		n = copy(out, d.batches[i][:classes[c].maxCached/2])
		d.batches, d.givers = slices.Delete(d.batches, i, i+1), slices.Delete(d.givers, i, i+1)
		d.untaken = min(d.untaken, len(d.batches))
		return n
	}
	return 0
}

// anyPartial returns a slab with free slots of any owner: its unit and 1, or 0.
func (d *depot) anyPartial() uint32 {
	for _, from := range d.partial {
		if from != 0 {
			return from
		}
	}
	return 0
}

// carve takes free slots of a slab in the order of their addresses, and fills out with them from its end
// downwards. Caller holds d.mu.
func (h *Heap) carve(c uint8, d *depot, first uint32, out []item) (n int) {
	r := h.meta.record(first)
	size := classes[c].size
	block := h.entry(uintptr(first)).states
	for word := r.hint; r.free > 0; word++ {
		w := (*[8]byte)(unsafe.Pointer(h.state(block + word*8)))
		free := zeroBytes(binary.LittleEndian.Uint64(w[:]))
		for ; free != 0; free &= free - 1 {
			i := word*8 + uint32(bits.TrailingZeros64(free))/8
			if n == len(out) {
				r.hint = word
				d.free -= n
				return n
			}
			state := block + i
			if i >= r.fresh {
				r.fresh = i + 1
				if r.clean {
					state |= cleanBit
				}
			}
			w[i%8] = stateCached
			n++
			out[len(out)-n] = newItem(first<<(unitBits-4)+i*size/granule, state)
			if r.free--; r.free == 0 {
				r.hint = word
				break
			}
		}
	}
	d.free -= n
	if r.free == 0 {
		h.unlink(d, first)
	}
	return n
}

// zeroBytes returns the high bits of the bytes that are zero.
func zeroBytes(w uint64) uint64 {
	const rest = 0x7f7f7f7f7f7f7f7f
	return ^((w&rest + rest) | w | rest)
}

// abandon counts a slot that stays cached for ever, in no list.
func (d *depot) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned++
}

// flush takes slots that have no room in a magazine: it keeps them as a batch, or returns them to their slabs.
func (h *Heap) flush(c, owner uint8, items []item) (bad *guard.Violation) {
	d := &h.depots[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.closed.Load() {
		return h.closedViolation("Free")
	}
	defer h.note()
	half, most := int(classes[c].maxCached/2), maxBatches
	if h.hard != nil {
		items, most = h.hard.withhold(c, items), mixedBatches(c)
	}
	if len(items) == half && half > 0 && len(d.batches) < min(most, maxBatchBytes/(half*int(classes[c].pitch))) {
		d.batches = append(d.batches, batch{})
		copy(d.batches[len(d.batches)-1][:], items)
		d.givers = append(d.givers, owner)
		return nil
	}
	return h.returnToSlabs(c, d, items)
}

// returnToSlabs puts slots of a class back into their slabs. It leaves out an item that is no cached slot
// and returns the violation: the caller raises it when its own work is done. Caller holds d.mu.
func (h *Heap) returnToSlabs(c uint8, d *depot, items []item) (bad *guard.Violation) {
	defer h.checked(c, d)
	for _, it := range items {
		s := h.state(it.state())
		if !h.isSlot(c, it) || *s != stateCached {
			bad = cmp.Or(bad, h.freedTwice("Free", it))
			continue
		}
		e := h.entry(uintptr(it.at() >> (unitBits - 4)))
		r := h.meta.record(e.first)
		*s = stateFree
		r.hint = min(r.hint, (it.state()-e.states)/8)
		if r.free++; r.free == 1 {
			h.link(d, e.first, r.owner)
		}
		d.free++
		if r.free == classes[c].slots {
			h.unlink(d, e.first)
			if d.empty == 0 {
				d.empty = e.first + 1
			} else {
				h.drop(c, d, e.first)
			}
		}
	}
	return bad
}

// link puts a slab that is in no list into the list of an owner.
func (h *Heap) link(d *depot, first uint32, owner uint8) {
	r, list := h.meta.record(first), &d.partial[owner]
	r.owner, r.prev, r.next = owner, 0, *list
	if r.next != 0 {
		h.meta.record(r.next - 1).prev = first + 1
	}
	*list = first + 1
}

// unlink takes a slab out of its owner's list.
func (h *Heap) unlink(d *depot, first uint32) {
	r := h.meta.record(first)
	if r.prev != 0 {
		h.meta.record(r.prev - 1).next = r.next
	} else {
		d.partial[r.owner] = r.next
	}
	if r.next != 0 {
		h.meta.record(r.next - 1).prev = r.prev
	}
}

// grow makes a slab and links it to an owner. Caller holds d.mu.
func (h *Heap) grow(c, owner uint8, d *depot) error {
	k := &classes[c]
	if err := h.account.Charge(int(k.units) * unit); err != nil {
		return err
	}
	first, clean, err := h.space.Take(int(k.units), ticks())
	if err != nil {
		h.account.Refund(int(k.units) * unit)
		return err
	}
	if c == zeroClass {
		err = h.region.Guard(first*unit, int(k.units)*unit)
	}
	var states uint32
	if err == nil {
		states, err = h.meta.reserve(k.slots, first+int(k.units))
	}
	if err != nil {
		h.space.Give(first, int(k.units), ticks())
		h.account.Refund(int(k.units) * unit)
		return err
	}
	*h.meta.record(uint32(first)) = record{free: k.slots, clean: clean}
	if h.hard != nil {
		h.meta.record(uint32(first)).fresh = k.slots // they are handed out in no order
	}
	for u := first; u < first+int(k.units); u++ {
		*h.entry(uintptr(u)) = entry{magic: k.magic, states: states, first: uint32(first), class: c}
	}
	for edge := h.edge.Load(); uint32(first)+k.units > edge && !h.edge.CompareAndSwap(edge, uint32(first)+k.units); {
		edge = h.edge.Load()
	}
	h.link(d, uint32(first), owner)
	h.account.Reach()
	if d.slabs++; d.slabs == 1 {
		h.inUse[c/64].Or(1 << (c % 64))
	}
	d.free += int(k.slots)
	return nil
}

// drop makes an empty slab's units free. The slab is in no list. Caller holds d.mu.
func (h *Heap) drop(c uint8, d *depot, first uint32) {
	k := &classes[c]
	if d.slabs--; d.slabs == 0 {
		h.inUse[c/64].And(^(uint64(1) << (c % 64)))
	}
	d.free -= int(k.slots)
	states := h.entry(uintptr(first)).states
	for u := first; u < first+k.units; u++ {
		*h.entry(uintptr(u)) = entry{}
	}
	if h.hard != nil {
		clear(unsafe.Slice(h.hard.size(states), k.slots))
	}
	h.meta.restore(k.slots, states)
	h.space.Give(int(first), int(k.units), ticks())
	h.account.Refund(int(k.units) * unit)
}
