package table

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
)

// untyped is the part of a table that knows neither its key nor its value type. It is on the Go heap, and never changes
// but when the arena frees the table: what changes lies in the arena, so that several may be attached to one table.
type untyped struct {
	_        nocopy.NoCopy // a copy would not hear of the arena's Reset
	root     *root         // the table's first object in the arena: all offsets count from it
	arena    *arena.Arena
	slotSize uintptr
	hasher   hasher
	supply   *supply // allocates, if the table is a shard of a Concurrent

	invalid    bool   // the arena frees memory of the table, or has done so
	epoch      uint64 // of the arena, when that began
	invalidate func() // makes the table invalid
	cancel     func() // takes the last registration of invalidate back; nil if there was none
}

// root is the head of a table in the arena, without pointers. A search reads its first 64 bytes.
type root struct {
	nothing [2]uint64 // the header of a group without entries, and of block 0: there leaves without memory lead
	seed    seed
	dir     uint64 // offset of the leaves
	leaves  uint32 // how many there are
	mask    uint32 // leaves rounded up to a power of two, minus 1
	half    uint32 // half of that power of two; 0 for a single leaf
	shift   uint32 // a block has 1<<shift groups
	inBlock uint32 // the bits of a group's number that count in its block: 1<<shift - 1
	_       uint32 // count is read atomically: it has a multiple of 8 on 32-bit processors, too

	count     uint64 // entries
	expandAt  uint64 // the insertion at this count looks for memory or leaves: see expand
	splitAt   uint64 // the count at which a leaf is split
	most      uint64 // entries that there ever were, or the hint: splits must not make that impossible
	changes   uint64 // how often entries came, went or were moved
	dirCap    uint64 // leaves that dir has room for
	blocks    uint64 // that the table has, used and free
	fresh     uint64 // offset of blocks that were never used
	freshEnd  uint64
	free      uint32 // the first block of the list of free ones, whose first bytes name the next; 0 for none
	freeCount uint32
	hand      uint32 // the leaf where the next reclaim begins
	lastSize  uint32 // groups of the largest leaf that there ever was
	clears    uint64 // how often all entries were removed at once

	mark       uint64          // rootMark
	layout     arena.Ref[byte] // a text that describes the entries: see internal/typelayout
	layoutSize uint64
	kind       kind
}

// leaf is the entries whose hashes have certain leafBits: where their groups are. It grows and shrinks by whole blocks,
// so each leaf has the memory that its entries need, in whatever order entries come and go.
type leaf struct {
	groups uint32 // a multiple of the groups of a block
	count  uint32 // entries
	blocks [leafBlocks]uint32
}

const (
	leafBlocks    = 62 // see splitBlocks
	leafSize      = unsafe.Sizeof(leaf{})
	maxLeafGroups = leafBlocks << maxShift

	// Blocks are named by their offset divided by blockUnit.
	blockUnit = 64
	// maxOffset is the end of what blocks can name: 256 GiB.
	maxOffset = math.MaxUint32 * blockUnit
)

// leafBits returns the bits of a hash whose low ones choose its leaf.
func leafBits(hash uint64) uint32 { return uint32(hash) }

// leafIndex returns the number of the leaf of a hash: its low leafBits. Where as many bits give a leaf that does not exist
// yet, one bit less does.
func (r *root) leafIndex(hash uint64) uint32 {
	i := leafBits(hash) & r.mask
	if i >= r.leaves {
		i -= r.half
	}
	return i
}

// leafAt returns a leaf by its number.
func (r *root) leafAt(i uint32) *leaf {
	return (*leaf)(unsafe.Add(unsafe.Pointer(r), uintptr(r.dir)+uintptr(i)*leafSize))
}

// leafOf returns the leaf of a hash.
func (r *root) leafOf(hash uint64) *leaf { return r.leafAt(r.leafIndex(hash)) }

// depthOf returns how many leafBits of a hash lead to a leaf.
func (r *root) depthOf(i uint32) int {
	depth := bits.Len32(r.mask)
	if i < r.half && i >= r.leaves-r.half {
		depth-- // not split yet
	}
	return depth
}

// setLeaves sets the number of leaves.
func (r *root) setLeaves(n uint32) {
	r.leaves = n
	r.mask = 1<<bits.Len32(n-1) - 1
	r.half = (r.mask + 1) / 2
}

// home returns the group where a search for a hash begins, among a leaf's groups.
func homeOf(hash uint64, groups uint32) uint32 { return uint32(hash >> 32 * uint64(groups) >> 32) }

// group returns a group of a leaf.
func (r *root) group(l *leaf, i uint32, slotSize uintptr) group {
	return groupIn(unsafe.Pointer(r), l, i, r.shift, r.inBlock, slotSize)
}

// setShift sets the size of blocks.
func (r *root) setShift(shift uint32) {
	r.shift, r.inBlock = shift, 1<<shift-1
}

// after returns the group behind a group of a leaf: the first behind the last.
func (l *leaf) after(i uint32) uint32 {
	if i++; i == l.groups {
		i = 0
	}
	return i
}

// base returns where offsets count from.
func (u *untyped) base() unsafe.Pointer { return unsafe.Pointer(u.root) }

// at returns the address of an offset.
func (u *untyped) at(off uint64) unsafe.Pointer { return unsafe.Add(u.base(), uintptr(off)) }

// usable panics if the arena has freed memory of the table. It writes nothing, so that several
// goroutines may search at once.
func (u *untyped) usable() {
	if u.invalid {
		u.usableInCallback()
	}
}

// usableInCallback is usable for an invalid table: callbacks of OnReset may use it, because its memory
// is freed after them.
func (u *untyped) usableInCallback() {
	epoch, ending := u.arena.Epoch()
	if u.arena.Err() != nil || !ending || epoch != u.epoch {
		call := callOf(u.hasher.typ())
		mustBeOpen(u.arena, call)
		panic(&guard.Violation{Op: "table." + call, Kind: guard.UseAfterReset, Detail: "the arena freed memory of the table", Region: u.arena.Name()})
	}
}

// watchArena registers invalidate, to be called before the memory that the table has now is freed, and
// before any callback that was registered earlier. While callbacks run the memory is freed as soon as
// they are done, so invalidate is called at once.
func (u *untyped) watchArena() {
	if _, ending := u.arena.Epoch(); ending {
		u.invalidate()
		return
	}
	if u.cancel != nil {
		u.cancel() // the call that frees older memory of the table frees the newest, too
	}
	u.cancel = u.arena.OnReset(u.invalidate)
}

// alloc allocates n times size zeroed bytes, aligned to a cache line, and returns their offset.
func (u *untyped) alloc(n uint64, size uintptr) (uint64, error) {
	hi, bytes := bits.Mul64(n, uint64(size))
	if hi != 0 || bytes > math.MaxInt {
		return 0, fmt.Errorf("table: %q: %d times %d bytes are more than addresses can hold: %w", u.arena.Name(), n, size, guard.ErrNoMemory)
	}
	b, err := u.take(int(bytes))
	if err != nil {
		return 0, fmt.Errorf("table: %w", err)
	}
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(u.base())), nil
}

// take takes zeroed bytes from the arena, aligned to a cache line.
func (u *untyped) take(bytes int) ([]byte, error) {
	if u.supply != nil {
		return u.supply.take(bytes)
	}
	b, err := u.arena.TryAlloc(bytes, blockUnit)
	if err == nil {
		u.watchArena()
	}
	return b, err
}

// hash hashes a key.
func (u *untyped) hash(key unsafe.Pointer, size uintptr) uint64 {
	switch u.hasher.kind {
	case byStoredHash:
		return wholeHash((*stringKey)(key).hash)
	case byParts:
		return u.root.seed.parts(key, u.hasher.parts)
	}
	return u.root.seed.memory(key, size)
}
