package table

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// A leaf grows when more than loadHigh of loadPer of its slots would be used, and shrinks when with fewer blocks at most
// loadLow were. Between the two lie some standard deviations of its count, so at constant size leaves seldom change.
//
// A table gets leaves when they have splitBlocks blocks each, at that load. They can have e = 2.72 times as many, and some more:
// a program that deletes entries in the order of an iteration while it inserts others makes the last leaf e times as dense.
const (
	loadPer     = 64 // a group that is full has 960
	loadHigh    = 872
	loadLow     = 764
	splitBlocks = 20
	smallBlocks = 30 // a table with smaller blocks than those of large ones gets larger blocks at this many

	// splitPeriod is how many insertions lie between two splits: each is some microseconds.
	splitPeriod = 8

	maxLeaves = 1 << 31
	maxShift  = 4
)

// moreFor returns how many blocks a leaf of so many gets when it grows: an eighth, and some more. Small steps waste less memory, large ones move
// entries less often. Leaves of different numbers take their steps at different sizes, so that not all have most to spare at the same time.
func moreFor(blocks, number uint32) uint32 {
	return max((blocks*8+number%8*8)/64, 1)
}

// lastShift returns the shift of large tables: blocks of 4 KiB where groups are small, and of at least 4 groups
// where these are not too large, so that leaves have some thousand entries and the directory stays in the cache.
func lastShift(slotSize uintptr) uint32 {
	size := groupSizeOf(slotSize)
	groups := max(4096/size, min(4, 16384/size), 1)
	return uint32(bits.Len(uint(min(groups, 1<<maxShift))) - 1)
}

// nextShift returns the shift that follows in a table that grows: single groups, then 4, then those of large tables.
func nextShift(shift, last uint32) uint32 {
	if shift == 0 {
		return min(2, last)
	}
	return last
}

// blockSize returns the bytes of a block.
func (u *untyped) blockSize() uintptr { return u.blockSizeWith(u.root.shift) }

func (u *untyped) blockSizeWith(shift uint32) uintptr {
	return (groupSizeOf(u.slotSize)<<shift + blockUnit - 1) &^ (blockUnit - 1)
}

// slots returns how many slots a block has.
func (r *root) slots() uint64 { return groupSlots << r.shift }

// comfortable returns how many entries a number of blocks holds at the highest load that is wanted.
func (r *root) comfortable(blocks uint64) uint64 { return (blocks << r.shift) * loadHigh / loadPer }

// assured returns how many entries the table can have, whatever leaves they are in. If all blocks are used and a leaf
// is full, some other leaf has more free slots than a block has, and can give a block up: were there none, the other
// leaves had at most slots-1 free slots each.
func (r *root) assured() uint64 { return r.assuredWith(r.leaves) }

func (r *root) assuredWith(leaves uint32) uint64 {
	if leaves == 1 {
		return min(r.blocks, leafBlocks) * r.slots()
	}
	all, waste := r.blocks*r.slots(), uint64(leaves-1)*(r.slots()-1)
	if waste > all {
		return 0
	}
	return all - waste
}

// wanted returns how many blocks a table with so many entries takes rather than let leaves become fuller than is good: those at full load, and what leaves
// have too much.
func (r *root) wanted() uint64 {
	return r.count/r.comfortable(1) + uint64(r.leaves)*5/4 + 4
}

// plenty returns how many blocks a table with so many entries takes without a look at what leaves can do without: a twelfth more than those at full load, and four.
func (r *root) plenty() uint64 { return r.count*13/(12*r.comfortable(1)) + 4 }

// openFor makes the leaves of a new table, and their memory, for hint entries: those that the caller asked for, or the share of a shard.
func (u *untyped) openFor(hint uint64, asked int) (err error) {
	r := u.root
	last := lastShift(u.slotSize)
	r.setShift(0)
	for r.shift < last && (r.comfortable(smallBlocks) < hint || u.supply != nil) { // all shards have blocks of one size: they exchange them
		r.setShift(nextShift(r.shift, last))
	}
	leaves := uint64(1)
	for r.shift == last && hint > leaves*r.comfortable(splitBlocks) {
		leaves *= 2
		if leaves > maxLeaves {
			return fmt.Errorf("table: %q: a table for %d entries is not possible: %w", u.arena.Name(), asked, guard.ErrNoMemory)
		}
	}
	if r.dir, err = u.alloc(leaves, leafSize); err != nil {
		return err
	}
	r.dirCap = leaves
	r.setLeaves(uint32(leaves))
	// Each leaf gets the blocks for its share at once, and for some entries more: shares differ by about their square root.
	share := hint / leaves
	more := uint64(0)
	if leaves > 1 {
		more = uint64(math.Sqrt(float64(share)))
	}
	per := max(r.blocksFor(share+more), 1)
	if err := u.addBlocks(leaves * per); err != nil {
		return err
	}
	for r.assured() < hint {
		if err := u.addBlocks((hint - r.assured() + r.slots() - 1) / r.slots()); err != nil {
			return err
		}
	}
	for i := range r.leaves {
		l := r.leafAt(i)
		u.takeBlocks(l, uint32(per))
		l.groups = uint32(per) << r.shift
		r.lastSize = l.groups
	}
	r.most = hint
	r.scheduleSplit()
	r.schedule()
	return nil
}

// addBlocks allocates blocks.
func (u *untyped) addBlocks(n uint64) error {
	r := u.root
	off, err := u.alloc(n, u.blockSize())
	if err != nil {
		return err
	}
	if end := off + n*uint64(u.blockSize()); end > maxOffset {
		return fmt.Errorf("table: %q: tables cannot have more than 256 GiB: %w", u.arena.Name(), guard.ErrNoMemory)
	}
	if off != r.freshEnd {
		for r.fresh < r.freshEnd {
			u.giveBlock(uint32(r.fresh / blockUnit))
			r.fresh += uint64(u.blockSize())
		}
		r.fresh = off
	}
	r.freshEnd = off + n*uint64(u.blockSize())
	r.blocks += n
	return nil
}

// moreBlocks allocates some blocks: a 256th of those that there are.
func (u *untyped) moreBlocks() error {
	if n := u.root.blocks / 256; n > 1 && u.addBlocks(n) == nil {
		return nil
	}
	return u.addBlocks(1)
}

// takeBlock takes a free block, whose groups are empty; 0 if there is none.
func (u *untyped) takeBlock() uint32 {
	r := u.root
	switch block := r.free; {
	case block != 0:
		b := u.at(uint64(block) * blockUnit)
		r.free = *(*uint32)(b)
		r.freeCount--
		u.clearHeaders(b)
		return block
	case r.fresh < r.freshEnd:
		block = uint32(r.fresh / blockUnit)
		r.fresh += uint64(u.blockSize())
		return block
	}
	return 0
}

// touch reads a byte of each cache line of a block, so that the processor loads all of them at a time.
func touch(block unsafe.Pointer, size uintptr) (all byte) {
	for at := uintptr(0); at < size; at += blockUnit {
		all |= *(*byte)(unsafe.Add(block, at))
	}
	return all
}

// giveBlock gives a block back that no leaf uses any more.
func (u *untyped) giveBlock(block uint32) {
	*(*uint32)(u.at(uint64(block) * blockUnit)) = u.root.free
	u.root.free = block
	u.root.freeCount++
}

// clearHeaders empties the groups of a block.
func (u *untyped) clearHeaders(block unsafe.Pointer) {
	for i := range uintptr(1) << u.root.shift {
		*(*[2]uint64)(unsafe.Add(block, i*groupSizeOf(u.slotSize))) = [2]uint64{}
	}
}

// growDirectory makes room for one more leaf.
func (u *untyped) growDirectory() error {
	r := u.root
	if uint64(r.leaves) < r.dirCap {
		return nil
	}
	dir, err := u.alloc(2*r.dirCap, leafSize)
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*leaf)(u.at(dir)), r.leaves), unsafe.Slice(r.leafAt(0), r.leaves))
	u.divide(r.dir, r.dir+r.dirCap*uint64(leafSize))
	r.dir, r.dirCap = dir, 2*r.dirCap
	return nil
}

// divide makes free blocks of memory that had another use.
func (u *untyped) divide(off, end uint64) {
	for size := uint64(u.blockSize()); end-off >= size; off += size {
		u.giveBlock(uint32(off / blockUnit))
		u.root.blocks++
	}
}

// allBlocks returns the blocks of a table of one leaf, whose blocks have 1<<shift groups.
func (u *untyped) allBlocks(l *leaf, shift uint32) (blocks []uint32) {
	r := u.root
	blocks = append(blocks, l.blocks[:l.groups>>shift]...)
	for b := r.free; b != 0; b = *(*uint32)(u.at(uint64(b) * blockUnit)) {
		blocks = append(blocks, b)
	}
	for off := r.fresh; off < r.freshEnd; off += uint64(u.blockSizeWith(shift)) {
		blocks = append(blocks, uint32(off/blockUnit))
	}
	return blocks
}

// recycle makes larger blocks of those of a size that lie side by side.
func (u *untyped) recycle(blocks []uint32, size uintptr) {
	slices.Sort(blocks)
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && blocks[n] == blocks[n-1]+uint32(size/blockUnit) {
			n++
		}
		off := uint64(blocks[0]) * blockUnit
		u.divide(off, off+uint64(n)*uint64(size))
		blocks = blocks[n:]
	}
}

// freeBlocks returns how many blocks takeBlock has.
func (u *untyped) freeBlocks() uint64 {
	return uint64(u.root.freeCount) + (u.root.freshEnd-u.root.fresh)/uint64(u.blockSize())
}

// blocksFor returns how many blocks a leaf with so many entries takes.
func (r *root) blocksFor(entries uint64) uint64 {
	per := r.comfortable(1)
	return min((entries+per-1)/per, leafBlocks)
}

// schedule sets the count at which an insertion looks for memory or leaves.
func (r *root) schedule() { r.expandAt = min(r.assured(), r.splitAt) }

// scheduleSplit sets the count at which a leaf is split: when all have splitBlocks blocks; and if some of them are split
// already, soon.
func (r *root) scheduleSplit() {
	r.splitAt = uint64(r.leaves) * r.comfortable(splitBlocks)
	if some := r.leaves&(r.leaves-1) != 0; some || r.splitAt <= r.count {
		r.splitAt = r.count + splitPeriod
	}
}

// nextSplit returns the leaf that is split next, and the bit of a hash that moves its entry to the new one.
func (r *root) nextSplit() (number uint32, bit int) {
	bit = bits.Len32(r.leaves) - 1
	return r.leaves - 1<<bit, bit
}
