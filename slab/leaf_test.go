package slab

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/percpu/leaftest"
)

// TestLeaves reads the machine code of the fast paths.
func TestLeaves(t *testing.T) {
	leaftest.Check(t, "github.com/seed-9a6c551e/offheap/slab",
		"(*Heap).allocFast", "(*Heap).freeFast", "(*pool).getFast", "(*pool).putFast", "(*Heap).popHardened", "pushFast")
	leaftest.CheckGiven(t, "github.com/seed-9a6c551e/offheap/slab", "(*Local).allocFast", "(*Local).freeFast")
}
