package slab

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
	mathrand "math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// hardened is what a heap of Config.Hardened has on top. It has no magazines: every call goes to
// the depot, under its lock.
//
//	        the object, as long as it was asked for
//	       ┌──────────────────────────┬────────┐
//	 live  │                          │ canary │  to the end of the slot, 8 bytes at least
//	       ├──────────────────────────┴────────┤
//	 freed │ poison                            │
//	       └───────────────────────────────────┘
//
//	┌────────────────┬─────────┬────────────────┬─────────┬─ ─
//	│      slab      │  guard  │      slab      │  guard  │     a guard is a unit that is never committed
//	└────────────────┴─────────┴────────────────┴─────────┴─ ─
type hardened struct {
	secret uint64 // of the canaries
	poison uint64
	sizes  unsafe.Pointer // see meta

	withheld [mostClasses]quarantine // the locks of the depots guard them
}

// canarySize is the least bytes behind an object that are checked.
const canarySize = 8

func openHardened(m *meta) *hardened {
	var random [16]byte
	rand.Read(random[:]) // does not fail
	return &hardened{
		secret: binary.LittleEndian.Uint64(random[:]),
		poison: binary.LittleEndian.Uint64(random[8:]),
		sizes:  m.sizes.base,
	}
}

// size is where the heap keeps for a slot what was asked for, and 1; 0 if it was never handed out.
func (k *hardened) size(state uint32) *uint32 {
	return (*uint32)(unsafe.Add(k.sizes, uintptr(state)*4))
}

// canary is the pattern behind the object at an address: one that is copied from elsewhere is no
// good.
func (k *hardened) canary(p unsafe.Pointer) uint64 {
	return (k.secret ^ uint64(uintptr(p))) * 0x9E3779B97F4A7C15
}

func paint(b []byte, pattern uint64) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, pattern)
	}
	for i := range b {
		b[i] = byte(pattern >> (8 * i))
	}
}

// changed returns the first byte that is not as paint left it, -1 if all are.
func changed(b []byte, pattern uint64) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != pattern {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] != byte(pattern>>(8*(i%8))) {
			return i
		}
	}
	return -1
}

// slot is all of an item's slot.
func (h *Heap) slot(c uint8, it item) []byte {
	return unsafe.Slice((*byte)(h.at(it)), classes[c].size)
}

// getHardened makes an object of a random free slot.
func (h *Heap) getHardened(size, align int) (b []byte, clean bool, err error) {
	c, ok := alignedClass(size+canarySize, align)
	if size < 0 || !ok {
		return h.getLarge(size, align)
	}
	it, err := h.takeHardened(c)
	if err != nil {
		return nil, true, err
	}
	slot, asked := h.slot(c, it), h.hard.size(it.state())
	clean = *asked == 0
	what, pattern := "memory was written to after it was freed", h.hard.poison
	if clean {
		what, pattern = "memory was written to that was never handed out", 0
	}
	if i := changed(slot, pattern); i >= 0 {
		panic(h.violation("Alloc", what, unsafe.Pointer(&slot[i]))) // nobody gets the slot any more
	}
	paint(slot[size:], h.hard.canary(unsafe.Pointer(&slot[0])))
	*asked = uint32(size) + 1
	*h.state(it.state()) = stateLive
	return slot[:size:size], clean, nil
}

// takeHardened takes a random free slot out of its slab.
func (h *Heap) takeHardened(c uint8) (it item, err error) {
	d := &h.depots[c]
	d.mu.Lock()
	first := d.partial[processors]
	if first != 0 {
		it = h.pick(c, d, first-1)
	}
	look := d.look()
	d.mu.Unlock()
	if look {
		h.mayDecay(nil)
	}
	if first == 0 {
		var one [1]item
		_, err = h.refill(c, processors, one[:])
		it = one[0]
	}
	return it, err
}

// look is true now and then: asking for the time takes longer than most of a call.
func (d *depot) look() bool {
	d.calls++
	return d.calls%64 == 0
}

// freeHardened frees the object at p: its slot is withheld from reuse for a while.
func (h *Heap) freeHardened(p unsafe.Pointer) {
	c, it, ok := h.lookup(p)
	if !ok {
		h.freeOther(p)
		return
	}
	slot, asked := h.slot(c, it), int(*h.hard.size(it.state()))-1
	if i := changed(slot[asked:], h.hard.canary(p)); i >= 0 {
		panic(h.overrun(p, asked+i))
	}
	if !h.claimHardened(it) { // of two that free it at the same time one is too late
		h.freeOther(p)
		return
	}
	paint(slot, h.hard.poison)
	d := &h.depots[c]
	d.mu.Lock()
	if home, ok := h.hard.withheld[c].swap(it, withheldSlots(c)); ok {
		h.bringHome(c, d, []item{home})
	}
	look := d.look()
	d.mu.Unlock()
	if look {
		h.mayDecay(nil)
	}
}

// claimHardened makes a cached slot of an object; false if it is none.
func (h *Heap) claimHardened(it item) bool {
	i := it.state()
	word := (*uint32)(unsafe.Pointer(h.state(i &^ 3))) // there is no exchange of bytes
	for {
		was := atomic.LoadUint32(word)
		var states [4]uint8
		binary.NativeEndian.PutUint32(states[:], was)
		if states[i%4] != stateLive {
			return false
		}
		states[i%4] = stateCached
		if atomic.CompareAndSwapUint32(word, was, binary.NativeEndian.Uint32(states[:])) {
			return true
		}
	}
}

// roomFor is how long the region of a large object is, and place where in it the object starts: its
// end touches the guard, as far as the alignment allows.
func (k *hardened) roomFor(size, align int) int {
	if align > guard.PageSize() && size < math.MaxInt-align { // what is more is refused as it is
		size += align
	}
	return max(size, 1)
}

func (k *hardened) place(r *guard.Region, size, align int) int {
	base := int(uintptr(r.Base()))
	return (base+r.Size()-size)&^(max(align, granule)-1) - base
}

// surround paints what is around a large object on its OS pages.
func (k *hardened) surround(r *guard.Region, at, size int) {
	canary := k.canary(unsafe.Add(r.Base(), at))
	paint(r.Bytes()[at&^(guard.PageSize()-1):at], canary)
	paint(r.Bytes()[at+size:], canary)
}

// intact tells whether nobody wrote to that, or where the first did, from the object's start.
func (k *hardened) intact(o largeObject, p unsafe.Pointer) (at int, ok bool) {
	canary, start := k.canary(p), int(uintptr(p)-uintptr(o.region.Base()))
	before := start & (guard.PageSize() - 1)
	if i := changed(o.region.Bytes()[start-before:start], canary); i >= 0 {
		return i - before, false
	}
	if i := changed(o.region.Bytes()[start+o.size:], canary); i >= 0 {
		return o.size + i, false
	}
	return 0, true
}

// overrun is the violation of who wrote behind, or before, the object at p.
func (h *Heap) overrun(p unsafe.Pointer, at int) *guard.Violation {
	what := "object was written to behind its end"
	if at < 0 {
		what = "object was written to before its start"
	}
	return h.violation("Free", what, unsafe.Add(p, at))
}

// release brings home what is withheld of a class.
func (h *Heap) release(c uint8) {
	if h.hard == nil {
		return
	}
	d, q := &h.depots[c], &h.hard.withheld[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.len() == 0 {
		return
	}
	h.bringHome(c, d, q.items)
	h.bringHome(c, d, q.queue)
	*q = quarantine{}
}

// pick takes a free slot of a slab, beginning to look at a random place.
func (h *Heap) pick(c uint8, d *depot, first uint32) item {
	r := h.meta.record(first)
	slots := classes[c].slots
	block := h.entry(uintptr(first)).states
	words := (slots + 7) / 8
	word := mathrand.Uint32N(words)
	free := h.freeIn(block, word, slots)
	for free == 0 {
		if word++; word == words {
			word = 0
		}
		free = h.freeIn(block, word, slots)
	}
	for range mathrand.IntN(bits.OnesCount64(free)) {
		free &= free - 1
	}
	i := word*8 + uint32(bits.TrailingZeros64(free))/8
	*h.state(block + i) = stateCached
	d.free--
	if r.free--; r.free == 0 {
		h.unlink(d, first)
	}
	return newItem(first<<(unitBits-4)+i*classes[c].size/granule, block+i)
}

// freeIn returns a high bit for each of 8 slots that is free.
func (h *Heap) freeIn(block, word, slots uint32) uint64 {
	free := zeroBytes(binary.LittleEndian.Uint64((*[8]byte)(unsafe.Pointer(h.state(block + word*8)))[:]))
	if rest := slots - word*8; rest < 8 {
		free &= 1<<(rest*8) - 1
	}
	return free
}

// quarantine withholds slots from reuse: first in a place that another takes at random, then in a
// queue. So nobody can tell when a slot comes back, and it does not before as many others were
// freed as the queue is long.
type quarantine struct {
	items []item
	queue []item // a ring, when it is full
	next  int    // the oldest of it
}

const (
	withheldBytes = 256 << 10 // of a class, for each of both halves
	withheldMost  = 512       // slots
)

func withheldSlots(c uint8) int { return max(min(withheldBytes/int(classes[c].size), withheldMost), 1) }

// swap puts a slot in. out is one that leaves for it, if there is one.
func (q *quarantine) swap(it item, most int) (out item, ok bool) {
	if len(q.items) < most {
		q.items = append(q.items, it)
		return out, false
	}
	i := mathrand.IntN(most)
	it, q.items[i] = q.items[i], it
	if len(q.queue) < most {
		q.queue = append(q.queue, it)
		return out, false
	}
	out, q.queue[q.next] = q.queue[q.next], it
	q.next = (q.next + 1) % most
	return out, true
}

func (q *quarantine) len() int { return len(q.items) + len(q.queue) }
