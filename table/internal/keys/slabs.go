package keys

import (
	"math/bits"
	"unsafe"
)

const (
	slabSize     = 4 << 10
	slabGranules = slabSize / granule
	slabHead     = 32                  // bytes before the first slot
	slabRoom     = slabSize - slabHead // bytes for slots
	slabShift    = granule             // bytes from a slab to a multiple of slabSize
	roomForSlab  = 2*slabGranules + 1  // granules of a hole in which a slab fits wherever the hole is

	largestSlot = slabRoom / 4 &^ 7
	fineSlot    = 256 // bytes: up to here, each multiple of 8 is a class
	coarse      = 12  // classes beyond, with 15 to 4 slots in a slab
	classes     = fineSlot/8 + coarse
)

// slab is the start of a run that is divided into slots. Offsets of slots count from it.
type slab struct {
	head       head
	class      uint8
	_          uint8
	size       uint16 // bytes of a slot
	free       uint16 // offset of a free slot, which has the offset of the next one; 0 for none
	fresh      uint16 // offset of the slots that were never used
	used       uint16 // slots that have keys
	slots      uint16 // slots
	next, prev uint64 // offsets of the slabs beside it in the list of those that have free slots
}

// directory leads to the slabs. It has a run of its own.
type directory struct {
	_       head // of its run
	inRuns  [classes]uint32
	partial [classes]uint64 // offsets of the first slabs that have free slots
}

// directoryGranules is the size of the directory's run.
const directoryGranules = uint64(unsafe.Sizeof(directory{})+granule-1) / granule

// slotSizes has the size of the slots of each class.
var slotSizes = func() (sizes [classes]uint16) {
	for c := range sizes {
		if sizes[c] = uint16(c+1) * 8; c >= fineSlot/8 {
			sizes[c] = uint16(slabRoom) / uint16(classes+3-c) &^ 7
		}
	}
	return sizes
}()

// classesBySize has the class of each size of 1 to largestSlot bytes, by the number of 8 bytes less one.
var classesBySize = func() (table [128]uint8) {
	c := 0
	for i := range table {
		for c < classes-1 && int(slotSizes[c]) < (i+1)*8 {
			c++
		}
		table[i] = uint8(c)
	}
	return table
}()

// classOf returns the class of keys of 1 to largestSlot bytes.
func classOf(size uint) uint8 { return classesBySize[(size-1)/8%128] }

// Round returns the length of the longest key that fits wherever a key of size bytes fits.
func Round(size uint) uint {
	switch {
	case size == 0:
		return 0
	case size <= largestSlot:
		return uint(slotSizes[classOf(size)])
	}
	return uint(granules(size)*granule - runMark)
}

// slabOf returns the offset of the slab that the slot at an offset is in.
func slabOf(off uint64) uint64 { return off&^(slabSize-1) - slabShift }

// takeSlot takes a free slot of a slab, the first one of its list, and returns the offset of the slot.
func (d *directory) takeSlot(base unsafe.Pointer, off uint64) uint64 {
	s := at[slab](base, off)
	slot := uint64(s.free)
	if slot != 0 {
		s.free = *at[uint16](base, off+slot)
	} else {
		slot = uint64(s.fresh)
		s.fresh += s.size
	}
	if s.used++; s.used == s.slots {
		d.unlink(base, s)
	}
	return off + slot
}

// freeSlot frees the slot at an offset, and the slab with its last slot.
func (h *Heap) freeSlot(base unsafe.Pointer, slot uint64) {
	off := slabOf(slot)
	s := at[slab](base, off)
	*at[uint16](base, slot) = s.free
	s.free = uint16(slot - off)
	s.used--
	switch s.used {
	case s.slots - 1:
		at[directory](base, h.slabs).link(base, off, s)
	case 0:
		at[directory](base, h.slabs).unlink(base, s)
		h.freeRun(base, off)
	}
}

// link puts a slab first in the list of its class.
func (d *directory) link(base unsafe.Pointer, off uint64, s *slab) {
	first := &d.partial[s.class]
	s.next, s.prev = *first, 0
	if *first != 0 {
		at[slab](base, *first).prev = off
	}
	*first = off
}

// unlink takes a slab out of the list of its class.
func (d *directory) unlink(base unsafe.Pointer, s *slab) {
	if s.next != 0 {
		at[slab](base, s.next).prev = s.prev
	}
	if s.prev != 0 {
		at[slab](base, s.prev).next = s.next
	} else {
		d.partial[s.class] = s.next
	}
}

// takeSmall returns the offset of memory for a key of a class that has no free slot.
func (h *Heap) takeSmall(base unsafe.Pointer, from Source, c uint8) (off uint64, err error) {
	n := granules(uint(slotSizes[c]))
	many := h.slabs != 0 && uint64(at[directory](base, h.slabs).inRuns[c])*n >= slabGranules
	if many && h.takeSlab(base, c) {
		return h.takeFirst(base, c), nil
	}
	if run := h.takeRun(base, n, attempts); run != 0 {
		return h.smallIn(base, run, c), nil
	}
	if k := h.larger(base, c, slotSizes[c]/4); k < classes {
		return h.takeFirst(base, k), nil
	}
	if h.isFull() {
		if off = h.takeAny(base, n, c); off != 0 {
			return off, nil
		}
	}
	if many && h.grow(base, from, roomForSlab) == nil {
		h.takeSlab(base, c)
		return h.takeFirst(base, c), nil
	}
	if h.slabs == 0 && h.inRuns >= slabSize && h.grow(base, from, directoryGranules+n) == nil {
		h.makeDirectory(base)
	} else {
		err = h.grow(base, from, n)
	}
	if off = h.takeAny(base, n, c); off != 0 {
		return off, nil
	}
	return 0, err
}

// takeAny returns the offset of memory for a key of a class, whose run has n granules, wherever it is; 0 if there is none.
func (h *Heap) takeAny(base unsafe.Pointer, n uint64, c uint8) (off uint64) {
	if run := h.takeRun(base, n, unlimited); run != 0 {
		return h.smallIn(base, run, c)
	}
	if k := h.larger(base, c, largestSlot); k < classes {
		return h.takeFirst(base, k)
	}
	return 0
}

// smallIn returns the offset of the key of a class that a run is for.
func (h *Heap) smallIn(base unsafe.Pointer, run uint64, c uint8) (off uint64) {
	if h.slabs != 0 {
		at[directory](base, h.slabs).inRuns[c]++
	}
	return h.keyIn(base, run)
}

// takeFirst takes a slot of the first slab of a class.
func (h *Heap) takeFirst(base unsafe.Pointer, c uint8) (off uint64) {
	d := at[directory](base, h.slabs)
	return d.takeSlot(base, d.partial[c])
}

// larger returns the first class from c on that has a free slot, which is at most more bytes larger; classes if there
// is none.
func (h *Heap) larger(base unsafe.Pointer, c uint8, more uint16) uint8 {
	if h.slabs == 0 {
		return classes
	}
	most := slotSizes[c] + more
	for d := at[directory](base, h.slabs); c < classes && slotSizes[c] <= most; c++ {
		if d.partial[c] != 0 {
			return c
		}
	}
	return classes
}

// makeDirectory makes the directory of slabs in a hole. There is one that is large enough.
func (h *Heap) makeDirectory(base unsafe.Pointer) {
	h.slabs = h.takeRun(base, directoryGranules, unlimited)
	d := at[directory](base, h.slabs)
	d.inRuns, d.partial = [classes]uint32{}, [classes]uint64{}
}

// takeSlab makes a slab of a class out of a hole; it returns false if it finds none that has room.
func (h *Heap) takeSlab(base unsafe.Pointer, c uint8) bool {
	for filled := h.filled >> binOf(slabGranules) << binOf(slabGranules); filled != 0; filled &= filled - 1 {
		for off, i := h.bins[bits.TrailingZeros32(filled)], 0; off != 0 && i < attempts; i++ {
			o := at[hole](base, off)
			from := (off+slabShift+slabSize-1)&^(slabSize-1) - slabShift
			if from-off == granule {
				from += slabSize
			}
			if from+slabSize <= after(off, o.head.granules()) {
				h.carve(base, off, from, slabGranules)
				s := at[slab](base, from)
				size := slotSizes[c]
				*s = slab{head: s.head, class: c, size: size, fresh: slabHead, slots: uint16(slabRoom) / size}
				at[directory](base, h.slabs).link(base, from, s)
				return true
			}
			off = o.next
		}
	}
	return false
}
