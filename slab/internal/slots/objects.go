package slots

import (
	"iter"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// Slabs iterates over the first units of the slabs, and their classes. The loop may remove the slab that it is at.
// Nobody else adds or removes slabs meanwhile.
func (t *Table) Slabs() iter.Seq2[uint32, uint8] {
	return func(yield func(uint32, uint8) bool) {
		for u := uint32(0); u < t.Edge(); {
			e := *t.entry(uintptr(u))
			if !e.InSlab() {
				u++
				continue
			}
			if !yield(u, e.Class()) {
				return
			}
			u += sizeclass.Table[e.Class()].Units
		}
	}
}

// Objects iterates over the live slots in the order of their addresses. Slots may be freed and allocated
// meanwhile: it yields those that are live when it comes to them.
func (t *Table) Objects() iter.Seq[unsafe.Pointer] {
	return func(yield func(unsafe.Pointer) bool) {
		for u := uint32(0); u < t.Edge(); u++ {
			e := *t.entry(uintptr(u))
			if !e.InSlab() || t.record(u).first != u {
				continue
			}
			block := e.states(u)
			// The loop may put back what the slab has, and get others in its place: then it is not
			// the same slab any more.
			for i := range sizeclass.Table[e.Class()].Blocks() {
				if *t.entry(uintptr(u)) != e {
					break
				}
				if s := *t.State(block + i); s&codeMask&^referenced == live && !yield(t.At(e.item(block+i, s))) {
					return
				}
			}
		}
	}
}
