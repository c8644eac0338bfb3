// Package bench compares package slab with other allocators that a Go program can use without cgo. It
// is a module of its own, so that programs which import offheap do not download the peers.
package bench

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/bytedance/gopkg/lang/mcache"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/slab"
	"modernc.org/memory"
)

// allocator is a peer as one goroutine uses it. Its inner loops call its own Alloc and Free, as programs
// do, which the compiler inlines where it can: so they exist once for each peer (loops_test.go).
type allocator interface {
	Alloc(size int) []byte
	Free(b []byte)

	// pairs allocates an object, writes 8 bytes and frees it, n times. It returns false if an object had
	// another length or other bytes.
	pairs(n, size int) (ok bool)

	// replace replaces n of w's objects, drawn at random.
	replace(w *churner, n int)

	// produce allocates out.n objects, and stamps them.
	produce(out *batch, state *workload.Random)

	// consume frees the objects of a batch. It returns false if one was not as stamped.
	consume(in *batch) (ok bool)
}

// peer is an allocator to compare with, and its abilities.
type peer struct {
	name   string
	size   int  // the only object size; 0 if it has any
	zeroes bool // its memory reads zero
	apart  bool // only the goroutine that allocated an object may free it

	// open makes the peer for one benchmark or test. It returns a function that makes the allocator of
	// one goroutine.
	open func(tb testing.TB) func() allocator
}

var peers = []peer{
	{name: "slab.Local", open: openLocal},
	{name: "slab.Heap", open: openHeap},
	{name: "slab.Heap.zeroed", zeroes: true, open: openZeroed},
	{name: "slab.Pool", size: 64, zeroes: true, open: openSlabPool64},
	{name: "slab.Pool", size: 1024, zeroes: true, open: openSlabPool1K},
	{name: "slab.New", size: 64, zeroes: true, open: openSlabNew64},
	{name: "slab.New", size: 1024, zeroes: true, open: openSlabNew1K},
	{name: "modernc", apart: true, open: openModernc},
	{name: "modernc.mutex", open: openLockedModernc},
	{name: "mcache", open: all(mcacheBytes{})},
	{name: "sync.Pool", size: 64, open: all(syncPool64{newSyncPool[[64]byte]()})},
	{name: "sync.Pool", size: 1024, open: all(syncPool1K{newSyncPool[[1024]byte]()})},
	{name: "z.Calloc", zeroes: true, open: all(calloc{})},
	{name: "make", zeroes: true, open: all(goHeap{})},
}

// all opens a peer that exists already and is the same for all goroutines.
func all(a allocator) func(testing.TB) func() allocator {
	return func(testing.TB) func() allocator { return func() allocator { return a } }
}

// must ends a test or benchmark if there is an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// slabHeap is a slab.Heap whose memory is not zeroed.
type slabHeap struct{ h *slab.Heap }

func (s slabHeap) Alloc(size int) []byte { return s.h.AllocDirty(size, 8) }
func (s slabHeap) Free(b []byte)         { s.h.Free(b) }

// zeroedHeap is a slab.Heap whose memory is zeroed.
type zeroedHeap struct{ h *slab.Heap }

func (s zeroedHeap) Alloc(size int) []byte { return s.h.Alloc(size, 8) }
func (s zeroedHeap) Free(b []byte)         { s.h.Free(b) }

// slabLocal is a slab.Local, for one goroutine, whose memory is not zeroed.
type slabLocal struct{ l *slab.Local }

func (s slabLocal) Alloc(size int) []byte { return s.l.AllocDirty(size, 8) }
func (s slabLocal) Free(b []byte)         { s.l.Free(b) }

func heap(tb testing.TB) *slab.Heap {
	h, err := slab.Open(slab.Config{Name: "bench"})
	must(tb, err)
	tb.Cleanup(func() { must(tb, h.Close()) })
	return h
}

func openHeap(tb testing.TB) func() allocator {
	h := heap(tb)
	return func() allocator { return slabHeap{h} }
}

func openZeroed(tb testing.TB) func() allocator {
	h := heap(tb)
	return func() allocator { return zeroedHeap{h} }
}

func openLocal(tb testing.TB) func() allocator {
	h := heap(tb)
	return func() allocator {
		l := h.Local()
		tb.Cleanup(func() { must(tb, l.Close()) })
		return slabLocal{l}
	}
}

// slabPool64 and slabPool1K are slab.Pools.
type slabPool64 struct{ p *slab.Pool[[64]byte] }
type slabPool1K struct{ p *slab.Pool[[1024]byte] }

func (s slabPool64) Alloc(int) []byte { return bytesOf(s.p.Get()) }
func (s slabPool1K) Alloc(int) []byte { return bytesOf(s.p.Get()) }
func (s slabPool64) Free(b []byte)    { s.p.Put(objectOf[[64]byte](b)) }
func (s slabPool1K) Free(b []byte)    { s.p.Put(objectOf[[1024]byte](b)) }

func slabPool[T any](tb testing.TB) *slab.Pool[T] {
	p, err := slab.OpenPool[T](slab.Config{Name: "bench"})
	must(tb, err)
	tb.Cleanup(func() { must(tb, p.Close()) })
	return p
}

func openSlabPool64(tb testing.TB) func() allocator {
	p := slabPool[[64]byte](tb)
	return func() allocator { return slabPool64{p} }
}

func openSlabPool1K(tb testing.TB) func() allocator {
	p := slabPool[[1024]byte](tb)
	return func() allocator { return slabPool1K{p} }
}

// slabNew64 and slabNew1K are slab.New and slab.Free, of a slab.Heap.
type slabNew64 struct{ h *slab.Heap }
type slabNew1K struct{ h *slab.Heap }

func (s slabNew64) Alloc(int) []byte { return bytesOf(slab.New[[64]byte](s.h)) }
func (s slabNew1K) Alloc(int) []byte { return bytesOf(slab.New[[1024]byte](s.h)) }
func (s slabNew64) Free(b []byte)    { slab.Free(s.h, objectOf[[64]byte](b)) }
func (s slabNew1K) Free(b []byte)    { slab.Free(s.h, objectOf[[1024]byte](b)) }

func openSlabNew64(tb testing.TB) func() allocator {
	h := heap(tb)
	return func() allocator { return slabNew64{h} }
}

func openSlabNew1K(tb testing.TB) func() allocator {
	h := heap(tb)
	return func() allocator { return slabNew1K{h} }
}

func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

func objectOf[T any](b []byte) *T { return (*T)(unsafe.Pointer(unsafe.SliceData(b))) }

// modernc is modernc.org/memory, for one goroutine. The Unsafe calls are its fast ones: Malloc also
// looks up the capacity.
type modernc struct{ a *memory.Allocator }

func (m modernc) Alloc(size int) []byte {
	return sized(first(m.a.UnsafeMalloc(size)), size)
}

// first returns an address, and if there is an error nil, with which sized panics. The inner loops of
// modernc call both: its Alloc is more than the compiler inlines.
func first(p unsafe.Pointer, _ error) *byte { return (*byte)(p) }

// sized returns an object of n bytes.
func sized(p *byte, n int) []byte { return unsafe.Slice(p, n) }

func (m modernc) Free(b []byte) {
	if err := m.a.UnsafeFree(unsafe.Pointer(unsafe.SliceData(b))); err != nil {
		panic(err)
	}
}

func moderncFor(tb testing.TB) modernc {
	m := modernc{new(memory.Allocator)}
	tb.Cleanup(func() { must(tb, m.a.Close()) })
	return m
}

func openModernc(tb testing.TB) func() allocator {
	return func() allocator { return moderncFor(tb) }
}

// lockedModernc is modernc behind a mutex, for any goroutine.
type lockedModernc struct {
	mu sync.Mutex
	m  modernc
}

func (l *lockedModernc) Alloc(size int) []byte {
	l.mu.Lock()
	b := l.m.Alloc(size)
	l.mu.Unlock()
	return b
}

func (l *lockedModernc) Free(b []byte) {
	l.mu.Lock()
	l.m.Free(b)
	l.mu.Unlock()
}

func openLockedModernc(tb testing.TB) func() allocator {
	l := &lockedModernc{m: moderncFor(tb)}
	return func() allocator { return l }
}

// mcacheBytes is bytedance's mcache: a sync.Pool for each power of two.
type mcacheBytes struct{}

func (mcacheBytes) Alloc(size int) []byte { return mcache.Malloc(size) }
func (mcacheBytes) Free(b []byte)         { mcache.Free(b) }

// syncPool64 and syncPool1K are sync.Pools of arrays.
type syncPool64 struct{ p *sync.Pool }
type syncPool1K struct{ p *sync.Pool }

func (s syncPool64) Alloc(int) []byte { return bytesOf(s.p.Get().(*[64]byte)) }
func (s syncPool1K) Alloc(int) []byte { return bytesOf(s.p.Get().(*[1024]byte)) }
func (s syncPool64) Free(b []byte)    { s.p.Put(objectOf[[64]byte](b)) }
func (s syncPool1K) Free(b []byte)    { s.p.Put(objectOf[[1024]byte](b)) }

func newSyncPool[T any]() *sync.Pool { return &sync.Pool{New: func() any { return new(T) }} }

// calloc is ristretto's z.Calloc: make, unless it is built with jemalloc.
type calloc struct{}

func (calloc) Alloc(size int) []byte { return z.Calloc(size, "bench") }
func (calloc) Free(b []byte)         { z.Free(b) }

// goHeap is make. The collector frees.
type goHeap struct{}

func (goHeap) Alloc(size int) []byte { return make([]byte, size) }
func (goHeap) Free([]byte)           {}
