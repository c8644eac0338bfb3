package keys

import (
	"math/bits"
	"unsafe"
)

const (
	granule   = 16 // bytes: offsets and sizes of runs are multiples of it
	leastRun  = 2  // granules
	runMark   = 4  // bytes from a run to the key in it, which is the size of a head
	bins      = 29 // bin i has the holes of 2^(i+1) granules up to before 2^(i+2)
	attempts  = 16 // holes of a bin that a search looks at
	unlimited = int(^uint(0) >> 1)

	extentHead  = granule // bytes before the first run of an extent
	extentEnd   = granule // bytes behind the last one, which look like a used run of no granules
	extentUnit  = 64      // bytes: an owner that aligns to cache lines leaves no gap between extents
	leastExtent = 256     // bytes, in a new extent
	mostExtent  = 8 << 30 // bytes of an extent that was extended: a head has room for twice as much
)

// head is at the start of a run: its size in granules, and two bits below.
type head uint32

const (
	used     head = 1 // the run is no hole
	prevUsed head = 2 // the run before is no hole, or there is none
	sizeBits      = 2 // below the size
)

func (h head) granules() uint64 { return uint64(h >> sizeBits) }

// sized returns the size bits of a head.
func sized(granules uint64) head { return head(granules << sizeBits) }

// hole is the start of a free run. Its last four bytes are its size in granules.
type hole struct {
	head       head
	_          uint32
	next, prev uint64 // offsets of the holes beside it in its bin, 0 for none
}

// extent is the start of memory that the owner gave.
type extent struct {
	next uint64 // offset of the extent that came before, 0 for none
	size uint64 // bytes
}

// granules returns how many granules the run of a key has.
func granules(size uint) uint64 {
	return max(leastRun, (uint64(size)+runMark+granule-1)/granule)
}

// binOf returns the bin of holes of n granules.
func binOf(n uint64) int { return bits.Len64(n) - 2 }

// after returns the offset of the run behind a run of n granules.
func after(run, n uint64) uint64 { return run + n*granule }

// foot returns where the size of a hole stands that ends at an offset.
func foot(base unsafe.Pointer, end uint64) *uint32 { return at[uint32](base, end-4) }

// link makes a hole of the n granules at an offset, between runs that are used.
func (h *Heap) link(base unsafe.Pointer, off, n uint64) {
	b := binOf(n)
	first := h.bins[b]
	*at[hole](base, off) = hole{head: sized(n) | prevUsed, next: first}
	*foot(base, after(off, n)) = uint32(n)
	if first != 0 {
		at[hole](base, first).prev = off
	}
	h.bins[b] = off
	h.filled |= 1 << b
}

// unlink takes a hole out of its bin.
func (h *Heap) unlink(base unsafe.Pointer, off uint64) {
	o := at[hole](base, off)
	if o.next != 0 {
		at[hole](base, o.next).prev = o.prev
	}
	if o.prev != 0 {
		at[hole](base, o.prev).next = o.next
		return
	}
	b := binOf(o.head.granules())
	if h.bins[b] = o.next; o.next == 0 {
		h.filled &^= 1 << b
	}
}

// find returns the smallest hole of n granules at least among the first ones of the bins; 0 if there is none. It looks at
// most at limit holes of each bin.
func (h *Heap) find(base unsafe.Pointer, n uint64, limit int) (best uint64) {
	for filled := h.filled >> binOf(n) << binOf(n); filled != 0; filled &= filled - 1 {
		least := uint64(1 << 63)
		for off, i := h.bins[bits.TrailingZeros32(filled)], 0; off != 0 && i < limit; i++ {
			o := at[hole](base, off)
			if has := o.head.granules(); has >= n && has < least {
				if best, least = off, has; has == n {
					return off
				}
			}
			off = o.next
		}
		if best != 0 {
			return best
		}
	}
	return 0
}

// carve makes a run of n granules out of a hole, from an offset in it on. What remains before it and behind it stays a
// hole; there is nothing before it, or at least leastRun granules. A single granule behind it becomes part of the run.
func (h *Heap) carve(base unsafe.Pointer, off, from, n uint64) {
	h.unlink(base, off)
	end := after(off, at[hole](base, off).head.granules())
	flags := used | prevUsed
	if from > off {
		h.link(base, off, (from-off)/granule)
		flags = used
	}
	if rest := (end-from)/granule - n; rest >= leastRun {
		h.link(base, after(from, n), rest)
	} else {
		n += rest
		*at[head](base, end) |= prevUsed
	}
	*at[head](base, from) = sized(n) | flags
}

// takeRun makes a run of n granules out of a hole, and returns it; 0 if no hole is found. It looks at most at limit holes
// of each bin.
func (h *Heap) takeRun(base unsafe.Pointer, n uint64, limit int) uint64 {
	off := h.find(base, n, limit)
	if off != 0 {
		h.carve(base, off, off, n)
	}
	return off
}

// keyIn returns the offset of the key that a run is for.
func (h *Heap) keyIn(base unsafe.Pointer, run uint64) (off uint64) {
	h.inRuns += at[head](base, run).granules() * granule
	return run + runMark
}

// takeLarge returns the offset of memory for a key whose run has n granules.
func (h *Heap) takeLarge(base unsafe.Pointer, from Source, n uint64) (off uint64, err error) {
	run := h.takeRun(base, n, attempts)
	if run == 0 && h.isFull() {
		run = h.takeRun(base, n, unlimited)
	}
	if run == 0 {
		err = h.grow(base, from, n)
		if run = h.takeRun(base, n, unlimited); run == 0 {
			return 0, err
		}
	}
	return h.keyIn(base, run), nil
}

// freeRun makes a run a hole, together with the holes beside it.
func (h *Heap) freeRun(base unsafe.Pointer, off uint64) {
	hd := *at[head](base, off)
	end := after(off, hd.granules())
	if hd&prevUsed == 0 {
		off -= uint64(*foot(base, off)) * granule
		h.unlink(base, off)
	}
	if next := *at[head](base, end); next&used == 0 {
		h.unlink(base, end)
		end = after(end, next.granules())
	} else {
		*at[head](base, end) &^= prevUsed
	}
	h.link(base, off, (end-off)/granule)
}

// addHole makes a hole of size bytes at the end of an extent, and the end behind it. flags tell about the run before.
func (h *Heap) addHole(base unsafe.Pointer, off, size uint64, flags head) {
	*at[head](base, off) = sized(size/granule) | used | flags&prevUsed
	*at[head](base, off+size) = used | prevUsed
	h.freeRun(base, off)
}

// extentFor returns how large a new extent is when there are taken bytes: an eighth, later a 32nd of them. Slabs use all but
// 4 KiB of an extent, so extents should not be small; what is unused of the last one should not be much.
func extentFor(taken uint64) uint64 {
	return max(leastExtent, min(taken/8, max(64<<10, taken/32), 1<<20)&^(extentUnit-1))
}

// askAgain is how many keys come until an owner that had no memory is asked again: a call that fails takes a microsecond.
const askAgain = 64

// isFull tells whether a key should get any memory that is large enough before the owner is asked for more.
func (h *Heap) isFull() bool {
	if h.refused == 0 {
		return false
	}
	h.refused++
	return h.refused%askAgain != 0
}

// grow takes memory that has a hole of n granules.
func (h *Heap) grow(base unsafe.Pointer, from Source, n uint64) error {
	least := (n*granule + extentHead + extentEnd + extentUnit - 1) &^ (extentUnit - 1)
	size := max(least, extentFor(h.taken))
	off, err := from.Grow(size)
	if err != nil && size > least {
		size = least
		off, err = from.Grow(size)
	}
	if err != nil {
		h.refused = 1
		return err
	}
	h.refused = 0
	h.taken += size
	if h.extents != 0 {
		if last := at[extent](base, h.extents); h.extents+last.size == off && last.size+size <= mostExtent {
			// The memory continues the last extent.
			last.size += size
			end := off - extentEnd
			h.addHole(base, end, size, *at[head](base, end))
			return nil
		}
	}
	*at[extent](base, off) = extent{next: h.extents, size: size}
	h.extents = off
	h.addHole(base, off+extentHead, size-extentHead-extentEnd, prevUsed)
	return nil
}
