package workload

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab"
)

// Source is an allocator as the benchmarks use it, from one goroutine.
type Source interface {
	AllocDirty(size int) []byte
	Free(b []byte)
}

// Sources are the allocators that can be timed, by name.
var Sources = map[string]string{
	"heap":  "slab.Heap, memory as it comes",
	"local": "a slab.Local for each goroutine, memory as it comes",
	"zero":  "slab.Heap, memory zeroed",
	"go":    "the Go heap, which frees nothing by hand",
}

// sources opens an allocator of the kind, and returns what makes a Source for a goroutine, and what
// closes all.
func sources(kind string) (forGoroutine func() Source, heap *slab.Heap, err error) {
	if kind == "go" {
		return func() Source { return goSource{} }, nil, nil
	}
	h, err := slab.Open(slab.Config{Name: "bench"})
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case "heap":
		return func() Source { return h }, h, nil
	case "local":
		return func() Source { return h.Local() }, h, nil
	case "zero":
		return func() Source { return zeroSource{h} }, h, nil
	}
	return nil, nil, fmt.Errorf("workload: there is no allocator %q", kind)
}

// goSource is the collector's heap.
type goSource struct{}

func (goSource) AllocDirty(size int) []byte { return make([]byte, size) }
func (goSource) Free([]byte)                {}

// zeroSource hands out zeroed memory.
type zeroSource struct{ *slab.Heap }

func (z zeroSource) AllocDirty(size int) []byte { return z.Alloc(size) }

// object is the start of what AllocDirty returned: 8 bytes, as much as a C program keeps.
type object = *byte

func bytesAt(p object, size int) []byte { return unsafe.Slice(p, size) }
