package slab

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
)

// TestUntrustedDescriptors uses a heap where type descriptors are not what package pointerfree expects: types with
// pointers are refused all the same, when there are free slots, too.
func TestUntrustedDescriptors(t *testing.T) {
	defer func(was bool) { pointerfree.Trusted = was }(pointerfree.Trusted)
	pointerfree.Trusted = false
	h := open(t, Config{})
	for range 3 {
		Free(h, New[uint64](h))
		if p, _, _ := h.allocFast(8); p != nil {
			t.Fatal("a fast path serves")
		}
		refused(t, func() { New[*int](h) })
		refused(t, func() { TryNew[*int](h) })
	}
}

func refused(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("a type with pointers is not refused")
		}
	}()
	f()
}
