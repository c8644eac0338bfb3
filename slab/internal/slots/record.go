package slots

import (
	"encoding/binary"
	"math/bits"
	mathrand "math/rand/v2"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Record describes a slab, at its first unit. The lock of the class's depot guards it.
type Record struct {
	Free       uint32 // number of free slots
	next, prev uint32 // in a List: their units and 1, or 0
	hint       uint32 // no block before has a free slot, in words of 8
	fresh      uint32 // slots of blocks from here on were never handed out
	first      uint32 // the slab's first unit. It is set for the other units of the slab, too
	clean      bool   // slots from fresh on read zero
	Owner      uint8  // the group of caches that takes its slots
	_          [6]byte
}

// Record returns the record of the slab that starts at a unit.
func (t *Table) Record(first uint32) *Record { return t.record(first) }

// Take takes free slots of a slab in the order of their addresses, or at random in a hardened heap, and fills out with
// them from its end downwards. It returns how many it took. Caller holds the lock of the class's depot.
func (t *Table) Take(first uint32, out []Item) (n int) {
	if t.hardened {
		for r := t.record(first); n < len(out) && r.Free > 0; n++ {
			out[len(out)-1-n] = t.pick(first)
		}
		return n
	}
	r, e := t.record(first), *t.entry(uintptr(first))
	block := e.states(first)
	for word := r.hint; r.Free > 0; word++ {
		w := (*[8]State)(unsafe.Pointer(t.State(block + word*8)))
		for set := t.freeIn(block, word); set != 0; set &= set - 1 {
			if n == len(out) {
				r.hint = word
				return n
			}
			i := uint32(bits.TrailingZeros64(set)) / 8
			s := w[i%8]&placeMask | cached
			if word*8+i >= r.fresh {
				r.fresh = word*8 + i + 1
				if r.clean {
					s |= clean
				}
			}
			w[i%8] = s
			n++
			out[len(out)-n] = e.item(block+word*8+i, s)
			if r.Free--; r.Free == 0 {
				r.hint = word
				break
			}
		}
	}
	return n
}

// pick takes a random free slot of a slab that has some: a random one of the first 8 blocks that have any, from
// random ones on. Caller holds the lock of the class's depot.
func (t *Table) pick(first uint32) Item {
	r, e := t.record(first), *t.entry(uintptr(first))
	block := e.states(first)
	words := (sizeclass.Table[e.Class()].Blocks() + 7) / 8
	word := mathrand.Uint32N(words)
	set := t.freeIn(block, word)
	for set == 0 {
		if word++; word == words {
			word = 0
		}
		set = t.freeIn(block, word)
	}
	for range mathrand.IntN(bits.OnesCount64(set)) {
		set &= set - 1
	}
	i := block + word*8 + uint32(bits.TrailingZeros64(set))/8
	s := t.State(i)
	*s = *s&placeMask | cached
	r.Free--
	return e.item(i, *s)
}

// freeIn returns the highest bit of each of 8 states whose slots are free.
func (t *Table) freeIn(block, word uint32) uint64 {
	const each = 0x0101010101010101
	w := binary.LittleEndian.Uint64((*[8]byte)(unsafe.Pointer(t.State(block + word*8)))[:])
	w = (w ^ each*uint64(free)) >> 3 & (each * uint64(codeMask>>3))
	return ^(w + each*0x7f) & (each * 0x80) // a byte overflows into its highest bit unless it is 0
}

// Return puts cached slots of a class back into their slab: as many of the items as lie in one slab, and after a slab's
// first free slot, or its last, no more, since its list changes then. n is 0, and nothing has changed, if the first item
// is no cached slot of the class. Caller holds the lock of the class's depot.
func (t *Table) Return(c uint8, items []Item) (n int, first uint32, r *Record) {
	unit := uint32(items[0].Offset() >> unitBits)
	e, k := *t.entry(uintptr(unit)), &sizeclass.Table[c]
	if !e.InSlab() || e.Class() != c {
		return 0, 0, nil
	}
	first = t.record(unit).first
	r = t.record(first)
	start, size, block := uintptr(first)<<unitBits, uintptr(k.Units)<<unitBits, e.states(first)
	count, low := r.Free, r.hint*8+block
	for n < len(items) {
		it := items[n]
		if it.Offset()-start >= size {
			break
		}
		i, place := e.Locate(it.Offset())
		s := t.State(i)
		if i != it.State() || !s.cachedAt(place) {
			break
		}
		*s = s.Claimed() | free
		low = min(low, i)
		count++
		n++
		if count == 1 || count == k.Slots {
			break
		}
	}
	r.Free, r.hint = count, (low-block)/8
	return n, first, r
}

// List is a list of slabs: the unit of the first one and 1; 0 if it is empty. A slab is in one list at most. The
// lock of the class's depot guards it.
type List uint32

// First returns the first slab of a list that is not empty.
func (l List) First() uint32 { return uint32(l) - 1 }

// Push puts a slab that is in no list in front.
func (t *Table) Push(l *List, first uint32) {
	r := t.record(first)
	r.prev, r.next = 0, uint32(*l)
	if r.next != 0 {
		t.record(r.next - 1).prev = first + 1
	}
	*l = List(first + 1)
}

// Unlink takes a slab out of the list that it is in.
func (t *Table) Unlink(l *List, first uint32) {
	r := t.record(first)
	if r.prev != 0 {
		t.record(r.prev - 1).next = r.next
	} else {
		*l = List(r.next)
	}
	if r.next != 0 {
		t.record(r.next - 1).prev = r.prev
	}
}
