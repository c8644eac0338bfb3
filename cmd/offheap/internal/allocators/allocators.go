// Package allocators opens what the command measures, by kind, behind one interface.
package allocators

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab"
)

// Kind names an allocator.
type Kind string

const (
	Heap     Kind = "heap"     // a slab.Heap, whose memory is handed out as it comes
	Local    Kind = "local"    // a slab.Local for each goroutine, of one slab.Heap; likewise
	Zero     Kind = "zero"     // a slab.Heap that hands out zeroed memory
	Hardened Kind = "hardened" // a slab.Heap with Config.Hardened; its memory comes as it is
	Go       Kind = "go"       // the Go heap: make, and the collector frees
	Arena    Kind = "arena"    // an arena.Arena; it frees nothing singly, so Open does not have it
)

// Source is an allocator as one goroutine uses it.
type Source interface {
	// AllocDirty returns size bytes that may hold anything, unless the kind says otherwise.
	AllocDirty(size int) []byte
	// Free takes back what AllocDirty of any goroutine returned. Its length may be less.
	Free(b []byte)
}

// Open opens an allocator. Each goroutine calls forGoroutine once for a Source of its own; done closes
// all of them.
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
		return func() Source { return zeroed{h} }, done, nil
	}
	done()
	return nil, nil, fmt.Errorf("there is no allocator %q whose objects are freed one by one", kind)
}

type goHeap struct{}

func (goHeap) AllocDirty(size int) []byte { return make([]byte, size) }
func (goHeap) Free([]byte)                {}

type zeroed struct{ *slab.Heap }

func (z zeroed) AllocDirty(size int) []byte { return z.Alloc(size) }

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
