// Package allocators opens the allocators that the command measures, by kind, behind one interface.
//
//	Kind ── Open ──▶ forGoroutine ──▶ Source      one for each goroutine
//	            └──▶ done                         closes the allocator
//
// A benchmark may call an allocator through its Source, or ask for the type of the Source and call that,
// as programs do. It keeps an Object, a bare address, for each object, as a program in C does: with slices
// the harness would take three times the memory. The collector ignores an Object off the Go heap; one of
// the kind Go keeps its object alive.
//
// Forgetting done leaks the allocator's memory until the process ends.
package allocators

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab"
)

// Kind names an allocator.
type Kind string

const (
	Heap      Kind = "heap"       // a slab.Heap; memory is not zeroed
	Local     Kind = "local"      // a slab.Local for each goroutine, of one slab.Heap; memory is not zeroed
	Zero      Kind = "zero"       // a slab.Heap; memory is zeroed
	ZeroLocal Kind = "zero-local" // a slab.Local for each goroutine; memory is zeroed
	Hardened  Kind = "hardened"   // a slab.Heap with Config.Hardened; memory is not zeroed
	Go        Kind = "go"         // the Go heap: make; memory is zeroed, and the collector frees it
	Arena     Kind = "arena"      // an arena.Arena, which does not free single objects; Open refuses it
)

// Align is the alignment that benchmarks ask for, in bytes.
const Align = 8

// Source is an allocator as one goroutine uses it.
type Source interface {
	// AllocDirty returns size bytes at a multiple of align, which is a power of two up to 8. They may hold
	// anything unless the kind zeroes them. It panics with an error that wraps guard.ErrNoMemory if there
	// is no memory.
	AllocDirty(size, align int) []byte
	// Free frees an object that AllocDirty of any goroutine returned. b starts at its first byte and may
	// be shorter.
	Free(b []byte)
}

// Open opens an allocator. Each goroutine calls forGoroutine once for a Source of its own. done closes
// the allocator. It returns an error if there is no memory, or no such kind.
func Open(kind Kind) (forGoroutine func() Source, done func(), err error) {
	if kind == Go {
		return func() Source { return goHeap{} }, func() {}, nil
	}
	h, err := slab.Open(slab.Config{Name: "bench", Hardened: kind == Hardened})
	if err != nil {
		return nil, nil, err
	}
	done = func() { h.Close() }
	switch kind {
	case Heap, Hardened:
		return func() Source { return h }, done, nil
	case Local:
		return func() Source { return h.Local() }, done, nil
	case Zero:
		return func() Source { return Zeroed{h} }, done, nil
	case ZeroLocal:
		return func() Source { return ZeroedLocal{h.Local()} }, done, nil
	}
	done()
	return nil, nil, fmt.Errorf("there is no allocator %q whose objects are freed one by one", kind)
}

type goHeap struct{}

func (goHeap) AllocDirty(size, _ int) []byte { return make([]byte, size) }
func (goHeap) Free([]byte)                   {}

// Zeroed is a slab.Heap that zeroes the memory it hands out.
type Zeroed struct{ *slab.Heap }

// AllocDirty is Alloc.
func (z Zeroed) AllocDirty(size, align int) []byte { return z.Alloc(size, align) }

// ZeroedLocal is a slab.Local that zeroes the memory it hands out.
type ZeroedLocal struct{ *slab.Local }

// AllocDirty is Alloc.
func (z ZeroedLocal) AllocDirty(size, align int) []byte { return z.Alloc(size, align) }

// Object is the address of an object's first byte: 8 bytes, as much as a C program keeps of it.
type Object = *byte

// Bytes returns the first n bytes of an object.
func Bytes(p Object, n int) []byte { return unsafe.Slice(p, n) }

// Objects returns room for n objects, which is in RAM already: the harness's memory must not count as
// the allocator's.
func Objects(n int) []Object {
	objects := make([]Object, n)
	clear(objects)
	return objects
}
