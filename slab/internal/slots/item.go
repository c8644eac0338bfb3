package slots

import "github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"

// Item names a slot: its place in granules from the base in the upper half, the number of its state in the lower
// one. It is one word, so that a push is one store. The zero Item names none: its state is never cached.
type Item uint64

// NewItem returns the item of a slot at an offset in bytes, a multiple of the granule.
//
//go:nosplit
func NewItem(off uintptr, state uint32) Item {
	return Item(off)*(1<<32/sizeclass.Granule) | Item(state)
}

// Offset returns where the slot starts, in bytes from the base.
//
//go:nosplit
func (it Item) Offset() uintptr { return uintptr(it>>32) * sizeclass.Granule }

// State returns the number of the slot's state.
//
//go:nosplit
func (it Item) State() uint32 { return uint32(it) }
