package slab

import (
	"math"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideZeroHeap calls every method of a Heap that Open did not make.
func TestOutsideZeroHeap(t *testing.T) {
	b, number := make([]byte, 100), new(int)
	uses := map[string]func(h *Heap){
		"Alloc":             func(h *Heap) { h.Alloc(10, 8) },
		"Alloc, large":      func(h *Heap) { h.Alloc(2<<20, 8) },
		"TryAlloc":          func(h *Heap) { h.TryAlloc(10, 8) },
		"AllocDirty":        func(h *Heap) { h.AllocDirty(10, 8) },
		"TryAllocDirty":     func(h *Heap) { h.TryAllocDirty(10, 8) },
		"Alloc, aligned":    func(h *Heap) { h.Alloc(10, 64) },
		"TryAlloc, aligned": func(h *Heap) { h.TryAlloc(10, 3) },
		"AllocN":            func(h *Heap) { h.AllocN(make([][]byte, 3), 10, 8) },
		"TryAllocN":         func(h *Heap) { h.TryAllocN(nil, 10, 8) },
		"Free":              func(h *Heap) { h.Free(b) },
		"Free of nil":       func(h *Heap) { h.Free(nil) },
		"FreeN":             func(h *Heap) { h.FreeN([][]byte{b}) },
		"FreeN of none":     func(h *Heap) { h.FreeN(nil) },
		"Size":              func(h *Heap) { h.Size(b) },
		"Realloc":           func(h *Heap) { h.Realloc(b, 200) },
		"Realloc of nil":    func(h *Heap) { h.Realloc(nil, 200) },
		"TryRealloc":        func(h *Heap) { h.TryRealloc(b, 50) },
		"Local":             func(h *Heap) { h.Local() },
		"Purge":             func(h *Heap) { h.Purge() },
		"Stats":             func(h *Heap) { h.Stats() },
		"Close":             func(h *Heap) { h.Close() },
		"New":               func(h *Heap) { New[int](h) },
		"slab.Free":         func(h *Heap) { Free(h, number) },
		"MakeSlice":         func(h *Heap) { MakeSlice[int](h, 1, 1) },
		"TryMakeSlice, -1":  func(h *Heap) { TryMakeSlice[int](h, -1, 0) },
		"TryMakeSlice, big": func(h *Heap) { TryMakeSlice[int](h, 0, math.MaxInt) },
		"FreeSlice":         func(h *Heap) { FreeSlice(h, []int{1}) },
	}
	for name, use := range uses {
		for kind, h := range map[string]*Heap{"zero": new(Heap), "nil": nil} {
			v := violationOf(t, func() { use(h) })
			if v == nil || v.Kind != guard.ZeroValue || v.Detail != "slab.Open makes a Heap" || !strings.HasPrefix(v.Op, "slab.") {
				t.Errorf("%s of a %s Heap: %v", name, kind, v)
			}
		}
	}
}
