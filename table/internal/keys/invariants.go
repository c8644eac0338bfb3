package keys

import (
	"iter"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// holds panics if an invariant does not hold.
func holds(ok bool, what string, about ...any) { invariant.Holds("table: keys", ok, what, about...) }

// Check panics where an invariant does not hold. keys has all keys, by offset and size. Check is for tests, and builds with
// -tags invariants: its time is proportional to the number of keys.
func (h *Heap) Check(base unsafe.Pointer, keys iter.Seq2[uint64, int]) {
	runs := h.checkExtents(base)
	slots, live, inRuns := h.checkKeys(base, runs, keys)
	holds(live == h.live, "the keys have %d bytes, the heap says %d", live, h.live)
	holds(inRuns == h.inRuns, "the runs of keys have %d bytes, the heap says %d", inRuns, h.inRuns)
	listed := 0
	if h.slabs != 0 {
		holds(runs[h.slabs] >= directoryGranules, "the directory has a run")
		delete(runs, h.slabs)
		for c, off := range at[directory](base, h.slabs).partial {
			for prev := uint64(0); off != 0; listed++ {
				s := at[slab](base, off)
				holds(int(s.class) == c && s.prev == prev && s.used > 0 && s.used < s.slots, "slab %+v at %d is in the list of class %d", *s, off, c)
				prev, off = off, s.next
			}
		}
	}
	partial := 0
	for off, keys := range slots {
		partial += h.checkSlab(base, off, keys)
		delete(runs, off)
	}
	holds(partial == listed, "%d slabs have free slots, %d are in lists", partial, listed)
	holds(len(runs) == 0, "used runs %v have no key", runs)
}

// checkExtents checks the runs of all extents, and the bins. It returns the granules of the used runs by offset.
func (h *Heap) checkExtents(base unsafe.Pointer) (runs map[uint64]uint64) {
	runs = map[uint64]uint64{}
	free, taken := map[uint64]bool{}, uint64(0)
	for x := h.extents; x != 0; x = at[extent](base, x).next {
		size := at[extent](base, x).size
		taken += size
		before := used
		for off, end := x+extentHead, x+size-extentEnd; ; {
			hd := *at[head](base, off)
			holds(hd&prevUsed != 0 == (before == used), "the head %#x at %d tells whether the run before is used", hd, off)
			if off == end {
				holds(hd&^prevUsed == used, "the end at %d looks like an empty run, not %#x", off, hd)
				break
			}
			before = hd & used
			holds(hd.granules() >= leastRun && after(off, hd.granules()) <= end, "the run %#x at %d is in its extent", hd, off)
			if before == used {
				runs[off] = hd.granules()
			} else {
				holds(hd&prevUsed != 0, "the holes at and before %d are merged", off)
				holds(uint64(*foot(base, after(off, hd.granules()))) == hd.granules(), "the hole at %d ends with its size", off)
				free[off] = true
			}
			off = after(off, hd.granules())
		}
	}
	holds(taken == h.taken, "the extents have %d bytes, the heap says %d", taken, h.taken)
	for b, off := range h.bins {
		holds(off != 0 == (h.filled>>b&1 != 0), "filled tells whether bin %d has holes", b)
		for prev := uint64(0); off != 0; {
			o := at[hole](base, off)
			holds(free[off] && binOf(o.head.granules()) == b && o.prev == prev, "hole %+v at %d is in bin %d", *o, off, b)
			delete(free, off)
			prev, off = off, o.next
		}
	}
	holds(len(free) == 0, "holes %v are in no bin", free)
	return runs
}

// checkKeys finds each key in a run of its own, which it takes out of runs, or in a slot. It returns the slots of each
// slab, and the bytes of all keys and of the runs of keys.
func (h *Heap) checkKeys(base unsafe.Pointer, runs map[uint64]uint64, keys iter.Seq2[uint64, int]) (slots map[uint64][]uint64, live, inRuns uint64) {
	slots = map[uint64][]uint64{}
	for off, size := range keys {
		live += uint64(size)
		switch {
		case size == 0:
			holds(off == 0, "a key of no bytes is at 0, not %d", off)
		case off&runMark != 0:
			run := off - runMark
			holds(runs[run]*granule >= uint64(size)+runMark, "the key of %d bytes at %d has a run", size, off)
			inRuns += runs[run] * granule
			delete(runs, run)
		default:
			s := slabOf(off)
			holds(runs[s] >= slabGranules && size <= int(at[slab](base, s).size), "the key of %d bytes at %d has a slot", size, off)
			slots[s] = append(slots[s], off)
		}
	}
	return slots, live, inRuns
}

// checkSlab checks the slots of a slab, of which some have keys. It returns 1 if others are free.
func (h *Heap) checkSlab(base unsafe.Pointer, off uint64, keys []uint64) int {
	s := at[slab](base, off)
	holds(s.size == slotSizes[s.class] && int(s.slots) == slabRoom/int(s.size), "slab %+v at %d has the slots of its class", *s, off)
	holds(len(keys) == int(s.used), "slab %+v at %d has %d keys", *s, off, len(keys))
	seen := map[uint64]bool{}
	visit := func(slot uint64) {
		at := slot - off
		holds(at >= slabHead && (at-slabHead)%uint64(s.size) == 0 && at < uint64(s.fresh), "slot %d of slab %+v is one", at, *s)
		holds(!seen[slot], "slot %d of slab %+v is only once used or free", at, *s)
		seen[slot] = true
	}
	for _, slot := range keys {
		visit(slot)
	}
	for free := uint64(s.free); free != 0; free = uint64(*at[uint16](base, off+free)) {
		visit(off + free)
	}
	holds(len(seen)*int(s.size)+slabHead == int(s.fresh), "slab %+v knows all %d slots up to fresh", *s, len(seen))
	if s.used < s.slots {
		return 1
	}
	return 0
}
