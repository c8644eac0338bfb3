package slab

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
	mathrand "math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// hardened is what a heap of Config.Hardened has on top. Its processors have two fronts each, one of
// slots that were taken at random and one of those that were freed, which go into quarantine
// together.
//
//	        the object, as long as it was asked for
//	       ┌──────────────────────────┬────────┐
//	 live  │                          │ canary │  to the end of the slot, 8 bytes at least
//	       ├──────────────────────────┴────────┤
//	 freed │ poison                            │
//	       └───────────────────────────────────┘
//
//	┌────────────────┬─────────┬────────────────┬─────────┬─ ─
//	│      slab      │  guard  │      slab      │  guard  │     a guard is a unit that faults
//	└────────────────┴─────────┴────────────────┴─────────┴─ ─
type hardened struct {
	secret uint64         // of the canaries
	poison [4096]byte     // random; what is longer is filled with it again and again
	sizes  unsafe.Pointer // see meta

	stock, freed fronts
	withheld     [mostClasses]quarantine // the locks of the depots guard them
}

// hardenedMagazine is how many slots a magazine holds at most: half of them come and go at a time,
// and the fewer, the more random they are.
const hardenedMagazine = 64

// canarySize is the least bytes behind an object that are checked.
const canarySize = 8

func openHardened(m *meta) *hardened {
	k := &hardened{sizes: m.sizes.base}
	k.stock.most, k.freed.most = hardenedMagazine, hardenedMagazine
	var secret [8]byte
	rand.Read(secret[:]) // does not fail
	rand.Read(k.poison[:])
	k.secret = binary.LittleEndian.Uint64(secret[:])
	return k
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

// cover and differs are paint and changed for a longer pattern: with the widest stores and loads
// that there are, since most of what is freed is not in the cache.
func cover(b []byte, pattern *[4096]byte) {
	for len(b) > 0 {
		b = b[copy(b, pattern[:]):]
	}
}

func differs(b []byte, pattern *[4096]byte) int {
	for i := 0; i < len(b); i += len(pattern) {
		part := b[i:min(i+len(pattern), len(b))]
		if bytes.Equal(part, pattern[:len(part)]) {
			continue
		}
		for j, x := range part {
			if x != pattern[j] {
				return i + j
			}
		}
	}
	return -1
}

var zeroes [4096]byte

// slot is all of an item's slot.
func (h *Heap) slot(c uint8, it item) []byte {
	return unsafe.Slice((*byte)(h.at(it)), classes[c].size)
}

// hardenedClass is alignedClass for an object and what is behind it.
func hardenedClass(size, align int) (c uint8, ok bool) {
	if size == 0 {
		return nothing, align <= nothingPitch
	}
	return alignedClass(size+canarySize, align)
}

// getHardened makes an object of a random free slot.
func (h *Heap) getHardened(size, align int) (b []byte, clean bool, err error) {
	c, ok := hardenedClass(size, align)
	if size < 0 || !ok {
		return h.getLarge(nil, size, align)
	}
	it, ok := h.hard.stock.pop(c)
	if !ok {
		if h.hard.stock.due(c) {
			if b, ok = h.sample(size, align); ok {
				return b, true, nil
			}
		}
		if it, err = h.fetch(&h.hard.stock, c, size); err != nil {
			return nil, true, err
		}
	}
	slot, asked := h.slot(c, it), h.hard.size(it.state())
	clean = *asked == 0
	what, pattern := "memory was written to after it was freed", &h.hard.poison
	if clean {
		what, pattern = "memory was written to that was never handed out", &zeroes
	}
	if i := differs(slot, pattern); i >= 0 {
		h.depots[c].abandon()
		panic(h.violation("Alloc", what, unsafe.Pointer(&slot[i])))
	}
	paint(slot[size:], h.hard.canary(h.at(it)))
	*asked = uint32(size) + 1
	if !h.claim(it) {
		panic(h.freedTwice("Alloc", it))
	}
	return slot[:size:size], clean, nil
}

// retire is takeBack of an object in its slot, ok or not. Of several that free one at the same
// moment one succeeds: that is what the atomic operation is for, and by then it waits for nothing.
func (h *Heap) retire(c uint8, it item) (ok bool) {
	p := h.at(it)
	slot, asked := h.slot(c, it), int(*h.hard.size(it.state()))-1
	if i := changed(slot[asked:], h.hard.canary(p)); i >= 0 && *h.state(it.state()) == stateLive {
		panic(h.overrun(p, asked+i))
	}
	word := (*uint32)(unsafe.Add(h.states, uintptr(it.state()&^3)))
	for ok = false; !ok; {
		old := atomic.LoadUint32(word)
		states := *(*[4]uint8)(unsafe.Pointer(&old))
		if states[it.state()%4] != stateLive {
			return false
		}
		states[it.state()%4] = stateCached
		ok = atomic.CompareAndSwapUint32(word, old, *(*uint32)(unsafe.Pointer(&states)))
	}
	cover(slot, &h.hard.poison)
	return true
}

// withhold puts slots into quarantine. It returns those that leave it for them, in the same place.
// The depot's lock is held.
func (k *hardened) withhold(c uint8, items []item) (home []item) {
	home = items[:0]
	for _, it := range items {
		if out, ok := k.withheld[c].swap(it, withheldSlots(c)); ok {
			home = append(home, out)
		}
	}
	return home
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

// around returns what is before and behind a large object on its OS pages.
func around(r *guard.Region, at, size int) (before, behind []byte) {
	from, to := onPages(at, size)
	return r.Bytes()[from:at], r.Bytes()[at+size : to]
}

// onPages returns the OS pages that some bytes of a region lie on.
func onPages(at, size int) (from, to int) {
	return at &^ (guard.PageSize() - 1), alignUp(at+size, guard.PageSize())
}

// surround paints what is around a large object.
func (k *hardened) surround(r *guard.Region, at, size int) {
	canary := k.canary(unsafe.Add(r.Base(), at))
	before, behind := around(r, at, size)
	paint(before, canary)
	paint(behind, canary)
}

// intact tells whether nobody wrote to that, or where the first did, from the object's start.
func (k *hardened) intact(o largeObject, p unsafe.Pointer) (at int, ok bool) {
	canary := k.canary(p)
	before, behind := around(o.region, int(uintptr(p)-uintptr(o.region.Base())), o.size)
	if i := changed(before, canary); i >= 0 {
		return i - len(before), false
	}
	if i := changed(behind, canary); i >= 0 {
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
func (h *Heap) release(c uint8) (bad *guard.Violation) {
	if h.hard == nil {
		return nil
	}
	d, q := &h.depots[c], &h.hard.withheld[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.len() == 0 {
		return nil
	}
	bad = cmp.Or(h.bringHome(c, d, q.items), h.bringHome(c, d, q.queue))
	*q = quarantine{}
	return bad
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
	return newItem(first<<(unitBits-4)+i*classes[c].pitch/granule, block+i)
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
	withheldBytes = 16 << 10 // of a class, for each of both halves: the caches should hold them
	withheldMost  = 512      // slots
)

func withheldSlots(c uint8) int {
	return max(min(withheldBytes/int(classes[c].pitch), withheldMost), 1)
}

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
