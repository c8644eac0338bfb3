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

// sources opens an allocator of a kind: "heap" is a slab.Heap whose memory is as it comes, "local"
// one with a slab.Local for each goroutine, "zero" one whose memory is zeroed, "hardened" one with
// Config.Hardened, "go" the Go heap, which frees nothing by hand. It returns what makes a Source
// for a goroutine, and what closes all.
func sources(kind string) (forGoroutine func() Source, done func(), err error) {
	if kind == "go" {
		return func() Source { return goSource{} }, func() {}, nil
	}
	h, err := slab.Open(slab.Config{Name: "bench", Hardened: kind == "hardened"})
	if err != nil {
		return nil, nil, err
	}
	done = func() { h.Close() }
	switch kind {
	case "heap", "hardened":
		return func() Source { return h }, done, nil
	case "local":
		return func() Source { return h.Local() }, done, nil
	case "zero":
		return func() Source { return zeroSource{h} }, done, nil
	}
	done()
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

// objectsInRAM makes room for n objects, which is in RAM: the harness's memory must not count as
// the allocator's.
func objectsInRAM(n int) []object {
	objects := make([]object, n)
	clear(objects)
	return objects
}
