package guard_test

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
)

// wasmMemory is the linear memory of a wasm program: its address never changes, and memory beyond its size faults.
type wasmMemory struct{ region *guard.Region }

// newMemory makes a memory of no bytes that may grow to max.
func newMemory(max int) (wasmMemory, error) {
	r, err := guard.Reserve(guard.Config{Name: "wasm memory", Reserve: max})
	return wasmMemory{r}, err
}

// Reallocate makes the memory size bytes large, and returns it; nil if that cannot be.
func (m wasmMemory) Reallocate(size int) []byte {
	b, err := m.region.Grow(max(size-m.region.Size(), 0))
	if err != nil {
		return nil
	}
	return b[:size:size]
}

// Free gives all memory back.
func (m wasmMemory) Free() error { return m.region.Close() }

// The host of wasm programs reserves the most that a program may have, and grows its memory in place.
func ExampleRegion_Grow() {
	const wasmPage = 64 << 10
	m, err := newMemory(1 << 28)
	if err != nil {
		fmt.Println(err)
		return
	}
	first := m.Reallocate(wasmPage)
	first[5] = 42
	second := m.Reallocate(3 * wasmPage)
	fmt.Println(len(first), len(second), second[5], &first[0] == &second[0], m.Reallocate(1<<29) == nil)
	fmt.Println(m.Free())
	// Output:
	// 65536 196608 42 true true
	// <nil>
}
