// Package keys keeps the bytes of a table's keys, in memory that the table gives it. Keys are freed one by one, and
// their memory is used again, for keys of any length.
//
// # Memory
//
// The owner gives extents of memory, and never gets them back. An extent is divided into runs, without gaps. A free run
// is a hole. Two holes never touch: they are merged.
//
//	extent  ┌──────┬─────┬──────┬────────────────────────┬─────┬ ─ ─ ┬─────┐
//	        │header│ run │ hole │ run                    │ run │     │ end │
//	        └──────┴─────┴──────┴────────────────────────┴─────┴ ─ ─ ┴─────┘
//	run     │head 4│ key …       a key of its own
//	        │head 4│ … │ slot │ slot │ slot │ slot │ …      a slab
//	hole    │head 4│ … │ next │ previous │ …     │foot 4│
//
// The words:
//
//   - A run has a multiple of 16 bytes. Its head has its size, and tells whether it and the run before it are used.
//   - A slab is a run of 4 KiB with slots for keys of one size class. Offsets lead from a slot to its slab: the first
//     multiple of 4 KiB in a slab is 16 bytes behind its start.
//   - A size class is one size of slots: each multiple of 8 up to 256 bytes, then what divides a slab evenly, up to
//     1016. Longer keys have runs of their own.
//   - A key in a slot has an offset that is a multiple of 8, a key in a run has one that is 4 more. So Free knows.
//
// # Which memory a key gets
//
//  1. A slot of its class, if a slab has a free one.
//  2. A slot of a new slab, if a hole has room for a slab and the keys of the class that have runs take as much memory
//     as a slab. So few keys of a length never take a slab.
//  3. A hole that is large enough, small ones first.
//  4. A free slot that is larger by a quarter at most.
//  5. A new extent, for a slab or a run as in 2. Extents grow with the memory that there is.
//  6. If the owner has no memory: any hole or free slot that is large enough. The owner is then asked for the next key
//     for which there is none, and for one of 64 others.
//
// The last key that leaves a slab makes it a hole. Slabs that are nearly full are filled first.
//
// # Promises
//
//  1. All state is in the Heap, which its owner puts into the memory that it gives, and in the extents. It has no
//     pointers and no addresses: everything is an offset from a base, so the memory may be mapped anywhere.
//  2. Store after Free does not fail if both lengths round to the same size (Round).
//  3. A Store that fails changes no key, and takes no memory.
//  4. A Heap is for one goroutine at a time. Goroutines may read keys while none changes the Heap.
//
// # Cost
//
// Store and Free of a slot take some 7 ns each, those of a run some 25, where memory is in the processor's cache. Free
// touches the first bytes of the slot and the head of its slab; of a run, also the holes beside it and those beside them
// in their bins.
//
//	keys      bytes of each   memory : bytes of keys, after all keys were replaced many times
//	    100     8 to 200      1.7
//	  1,000     8 to 200      1.4
//	100,000     8 to 200      1.1
//	  1,000 1,000 to 5,000    1.1
//
// # What it does not do
//
// It never moves a key, so one key may keep a slab from being a hole. It does not give memory back. Users who can write
// to the keys can break it.
package keys

import (
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// MaxSize is the length of the longest key.
const MaxSize = math.MaxUint32

// Source gives a Heap its memory. Grow returns the offset from the base of size bytes, a multiple of 64. The offset is a
// multiple of 16, and not 0. The bytes may have any values.
type Source interface {
	Grow(size uint64) (off uint64, err error)
}

// Heap is the head of the memory of keys. The zero Heap has no memory. All methods are given the base that offsets
// count from: a multiple of 8.
type Heap struct {
	slabs   uint64       // offset of the directory of slabs; 0 until keys take more memory than a slab
	live    uint64       // bytes of all keys
	taken   uint64       // bytes of all extents
	inRuns  uint64       // bytes of the runs of keys
	extents uint64       // offset of the extent that came last, which leads to the others
	filled  uint32       // a bit for each bin that has holes
	refused uint32       // not 0 if the owner had no memory when it was asked last: how many keys came since
	bins    [bins]uint64 // offsets of the first holes, by size
}

// Stats describes the memory of a Heap.
type Stats struct {
	Live  uint64 // bytes of keys
	Taken uint64 // bytes of the memory that the owner gave
}

// Stats returns the memory that the keys have.
func (h *Heap) Stats() Stats { return Stats{h.live, h.taken} }

// Store copies a key, of at most MaxSize bytes, and returns its offset. A key of no bytes takes no memory and has offset
// 0. An error is that of from.
func (h *Heap) Store(base unsafe.Pointer, from Source, key string) (off uint64, err error) {
	n := uint(len(key))
	if h.slabs == 0 || n-1 >= largestSlot {
		return h.storeSlow(base, from, key)
	}
	d := at[directory](base, h.slabs)
	slab := d.partial[classOf(n)]
	if slab == 0 {
		return h.storeSlow(base, from, key)
	}
	off = d.takeSlot(base, slab)
	h.write(base, off, key)
	return off, nil
}

// write copies the bytes of a key to the memory that was found for it.
func (h *Heap) write(base unsafe.Pointer, off uint64, key string) {
	h.live += uint64(len(key))
	copy(unsafe.Slice(at[byte](base, off), len(key)), key)
}

// storeSlow is Store for a key whose class has no free slot, and for one that has no class.
func (h *Heap) storeSlow(base unsafe.Pointer, from Source, key string) (off uint64, err error) {
	n := uint(len(key))
	switch {
	case n == 0:
		return 0, nil
	case n > largestSlot:
		off, err = h.takeLarge(base, from, granules(n))
	default:
		off, err = h.takeSmall(base, from, classOf(n))
	}
	if err == nil {
		h.write(base, off, key)
	}
	return off, err
}

// Free frees the memory of the key of size bytes that Store put at an offset.
func (h *Heap) Free(base unsafe.Pointer, off uint64, size int) {
	h.live -= uint64(size)
	switch {
	case off&runMark != 0:
		h.freeKeyRun(base, off-runMark, uint(size))
	case off != 0:
		h.freeSlot(base, off)
	}
}

// freeKeyRun frees the run of a key.
func (h *Heap) freeKeyRun(base unsafe.Pointer, run uint64, size uint) {
	n := at[head](base, run).granules()
	if invariant.Enabled {
		need := granules(Round(size))
		holds(n == need || n == need+1, "the run of a key of %d bytes has %d granules", size, n)
	}
	h.inRuns -= n * granule
	if size <= largestSlot && h.slabs != 0 {
		if count := &at[directory](base, h.slabs).inRuns[classOf(size)]; *count > 0 {
			*count--
		}
	}
	h.freeRun(base, run)
}

// Reset frees all keys at once. It keeps the memory. Its time is proportional to the number of extents.
func (h *Heap) Reset(base unsafe.Pointer) {
	*h = Heap{taken: h.taken, extents: h.extents}
	for off := h.extents; off != 0; {
		x := at[extent](base, off)
		h.addHole(base, off+extentHead, x.size-extentHead-extentEnd, prevUsed)
		off = x.next
	}
}

// at returns a pointer to what lies at an offset.
func at[T any](base unsafe.Pointer, off uint64) *T { return (*T)(unsafe.Add(base, off)) }
