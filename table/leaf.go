package table

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// scratch has what is in the way when a leaf is rebuilt, on the Go heap.
type scratch struct {
	groups  [2 * maxLeafGroups]newGroup // of the new leaves
	block   []uint64                    // a copy of a block
	hashes  [groupSlots + 1]uint64      // of the entries in a group of it
	entries []uint64                    // copies of entries that found no place yet
	waiting []uint64                    // the hashes of these entries
}

// newGroup is a group of a leaf that is being rebuilt. Its header is written when all are known.
type newGroup struct {
	slots uint64                // the offset of the slot that would be before the first
	tags  [groupSlots + 1]uint8 // the bytes of the header
	used  uint16                // the slots that have an entry: slot s is bit s+1, and bit 0 is always set
}

// newLeaf is a leaf that is being rebuilt.
type newLeaf struct {
	first, groups uint32 // its groups, among those of the scratch
	end           uint32 // up to here its groups may be filled: their blocks are new, or were copied
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// room returns a buffer of at least n bytes, with what is in b.
func room(b []uint64, n uintptr) []uint64 {
	if words := max(int(n+7)/8, 1); len(b) < words {
		b = append(b, make([]uint64, max(words-len(b), len(b)))...)
	}
	return b
}

// rebuild puts the entries of a leaf into other groups: their homes have changed. An entry goes to one of two leaves, which
// may be the same, by a bit of its hash. It copies one block after the other; rehouse has given the new leaves their blocks in such an order that nearly
// all homes of the entries of a block are in blocks that were copied already, or are new. The other entries, and those whose new home is full, have to wait until all
// others have their place. fresh is how many blocks are new.
//
// Cost: some 15 ns for an entry. A block is copied whole, so the processor asks for all its cache lines at a time.
func (t *typed[K, V]) rebuild(number uint32, old *leaf, to [2]*leaf, blocks [2]uint32, fresh uint32, bit int) {
	r := t.root
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	size := unsafe.Sizeof(slot[K, V]{})
	s.block, s.waiting = room(s.block, t.blockSize()), s.waiting[:0]
	copied := unsafe.Pointer(unsafe.SliceData(s.block))
	leaves := [2]*newLeaf{s.open(r, to[0], 0, size)}
	leaves[1] = leaves[0]
	if to[1] != to[0] {
		leaves[1] = s.open(r, to[1], to[0].groups, size)
	}
	for n := range old.groups >> r.shift {
		ready := dealt(fresh+n+1, blocks)
		leaves[1].end = ready[1] << r.shift
		leaves[0].end = ready[0] << r.shift // the later one counts if both are one
		block := t.at(uint64(old.blocks[n]) * blockUnit)
		copy(unsafe.Slice((*byte)(copied), t.blockSize()), unsafe.Slice((*byte)(block), t.blockSize()))
		for i := range uint32(1) << r.shift {
			header := unsafe.Add(copied, uintptr(i)*groupSizeOf(size))
			g := group{(*[2]uint64)(header), unsafe.Add(header, headerSize)}
			t.hashGroup(s, g, number, n<<r.shift+i, bit)
			scatter(s, unsafe.Pointer(r), (*[groupSlots]slot[K, V])(g.slots), g.used(), &leaves, bit)
		}
	}
	s.close(r, to[0], leaves[0], size)
	if to[1] != to[0] {
		s.close(r, to[1], leaves[1], size)
	}
	for i, hash := range s.waiting {
		l := to[leafBits(hash)>>bit&1]
		*t.put(l, hash, l.groups) = *(*slot[K, V])(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.entries)), uintptr(i)*size))
		l.count++
	}
	r.changes++
}

// hashGroup hashes the entries of a group. All at once are faster than each before it is moved: the processor works at several at a time.
func (t *typed[K, V]) hashGroup(s *scratch, g group, number, i uint32, bit int) {
	if unsafe.Sizeof((*slot[K, V])(nil).key) == 8 && t.hasher.kind == byBytes {
		seed := t.root.seed
		for at := range uintptr(groupSlots) { // what is in free slots, too: there is no branch then
			s.hashes[at] = seed.word(load8(g.at(at, unsafe.Sizeof(slot[K, V]{})), 0))
		}
		return
	}
	for m := g.used(); m != 0; m &= m - 1 {
		at := m.first()
		s.hashes[at] = t.storedHash(slotAt[K, V](g, at), g.tag(at), splitBits(number, bit, i, at))
	}
}

// scatter moves the used slots of a copied group to their new homes. It is apart, and not inlined, because it has enough registers so.
//
//go:noinline
func scatter[E any](s *scratch, base unsafe.Pointer, old *[groupSlots]E, used slotSet, leaves *[2]*newLeaf, bit int) {
	size := unsafe.Sizeof(old[0])
	for ; used != 0; used &= used - 1 {
		at := used.first()
		hash := s.hashes[at&groupSlots]
		l := leaves[hash>>(bit&63)&1]
		home := homeOf(hash, l.groups)
		g := &s.groups[l.first+home]
		near := 0 // the first bit of used where the entry wants to be: that of its quarter
		if size <= smallSlot {
			near = int(quarterOf(hash) * 4)
		}
		free := bits.RotateLeft16(^g.used, -near)
		if free == 0 || home >= l.end {
			s.wait(unsafe.Pointer(&old[at]), size, hash)
			continue
		}
		bit := (bits.TrailingZeros16(free) + near) & groupSlots
		g.used |= 1 << bit
		g.tags[tagByte[bit]&groupSlots] = uint8(tagOf(hash))
		*(*E)(unsafe.Add(base, uintptr(g.slots)+uintptr(bit)*size)) = *(*E)(unsafe.Add(unsafe.Pointer(old), at*size))
	}
}

// tagByte says which byte of a header is the tag of a slot, whose number is one less: see group.
var tagByte = [groupSlots + 1]uint8{15, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7}

// wait keeps an entry until all others have their place.
//
//go:noinline
func (s *scratch) wait(e unsafe.Pointer, size uintptr, hash uint64) {
	at := uintptr(len(s.waiting)) * size
	s.entries = room(s.entries, at+size)
	copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.entries)), at)), size), unsafe.Slice((*byte)(e), size))
	s.waiting = append(s.waiting, hash)
}

// open makes a new leaf of empty groups, from number first on.
func (s *scratch) open(r *root, l *leaf, first uint32, size uintptr) *newLeaf {
	for i := range l.groups {
		g := r.group(l, i, size)
		s.groups[first+i] = newGroup{slots: uint64(uintptr(g.slots) - uintptr(unsafe.Pointer(r)) - size), used: 1}
	}
	return &newLeaf{first: first, groups: l.groups}
}

// close writes the headers of a new leaf, and counts its entries.
func (s *scratch) close(r *root, l *leaf, n *newLeaf, size uintptr) {
	l.count = 0
	for i := range n.groups {
		g := &s.groups[n.first+i]
		*r.group(l, i, size).header = [2]uint64{binary.LittleEndian.Uint64(g.tags[:]), binary.LittleEndian.Uint64(g.tags[8:])}
		l.count += uint32(bits.OnesCount16(g.used)) - 1
	}
}

// splitBits returns the low bits of the hash of an entry with a NaN, for a split of its leaf by a bit. The bit depends on
// where the entry lies, so it is the same when entries are counted and when they are moved.
func splitBits(number uint32, bit int, group uint32, slot uintptr) uint64 {
	return uint64(number) | (uint64(group)+uint64(slot))&1<<bit
}

// resize rebuilds a leaf with a number of blocks. There are as many free ones as the leaf gets more.
func (t *typed[K, V]) resize(number, blocks uint32) {
	r := t.root
	l := r.leafAt(number)
	had := l.groups >> r.shift
	t.rehouse(number, [2]*leaf{l, l}, [2]uint32{blocks, 0}, max(blocks, had)-had, 0)
}

// rehouse gives a leaf, or a leaf and its twin, a number of blocks each, and rebuilds it: some fresh blocks, and then those that the leaf has. It gives
// back what is left over.
func (t *typed[K, V]) rehouse(number uint32, to [2]*leaf, blocks [2]uint32, fresh uint32, bit int) {
	old := *to[0]
	*to[0] = leaf{}
	all, has := blocks[0]+blocks[1], [2]uint32{}
	for n := range all {
		block := old.blocks[(n-fresh)%leafBlocks]
		if n < fresh {
			block = t.takeBlock()
		}
		shares := dealt(n+1, blocks)
		side := shares[1] - has[1] // who gets this one
		to[side].blocks[has[side]] = block
		has = shares
	}
	for i, n := range blocks {
		to[i].groups += n << t.root.shift
	}
	t.rebuild(number, &old, to, blocks, fresh, bit)
	for n := all - fresh; n < old.groups>>t.root.shift; n++ {
		t.giveBlock(old.blocks[n])
	}
	t.root.lastSize = max(t.root.lastSize, to[0].groups, to[1].groups)
}

// dealt returns how many of the first n blocks each of two leaves gets that are to have some blocks in all: its share, rounded up for the first
// leaf and down for the second.
func dealt(n uint32, blocks [2]uint32) [2]uint32 {
	all := blocks[0] + blocks[1]
	n = min(n, all)
	second := n * blocks[1] / max(all, 1)
	return [2]uint32{n - second, second}
}

// takeBlocks gives a leaf blocks until it has a number of them.
func (u *untyped) takeBlocks(l *leaf, blocks uint32) {
	for have := l.groups >> u.root.shift; have < blocks; have++ {
		l.blocks[have] = u.takeBlock()
	}
}

// giveBlocks takes the blocks from a leaf that it had and has no groups in.
func (u *untyped) giveBlocks(l *leaf, had uint32) {
	for have := l.groups >> u.root.shift; had > have; had-- {
		u.giveBlock(l.blocks[had-1])
		l.blocks[had-1] = 0
	}
}

// split makes one leaf more, which gets some half of the entries of another one. It tells whether there was memory for
// it; if not, nothing has changed.
func (t *typed[K, V]) split() bool {
	r := t.root
	if r.leaves == maxLeaves || t.growDirectory() != nil {
		return false
	}
	number, bit := r.nextSplit()
	l := r.leafAt(number)
	staying, moving := t.countBit(number, l, bit)
	blocks := [2]uint32{uint32(r.blocksFor(staying)), uint32(r.blocksFor(moving))}
	had, all := l.groups>>r.shift, blocks[0]+blocks[1]
	fresh := min(max(all, had)-had+2, all) // two more than are missing: the first for each leaf
	for t.freeBlocks() < uint64(fresh) || r.assuredWith(r.leaves+1) < max(r.most, r.count+1) {
		if t.moreBlocks() != nil {
			return false
		}
	}
	twin := r.leafAt(r.leaves)
	*twin = leaf{}
	t.rehouse(number, [2]*leaf{l, twin}, blocks, fresh, bit)
	r.setLeaves(r.leaves + 1)
	return true
}

// countBit counts the entries of a leaf by a bit of their hashes.
func (t *typed[K, V]) countBit(number uint32, l *leaf, bit int) (zero, one uint64) {
	for i := range l.groups {
		g := t.root.group(l, i, t.slotSize)
		for m := g.used(); m != 0; m &= m - 1 {
			e := slotAt[K, V](g, m.first())
			one += uint64(leafBits(t.storedHash(e, g.tag(m.first()), splitBits(number, bit, i, m.first()))) >> bit & 1)
		}
	}
	return uint64(l.count) - one, one
}

// expand is called by the insertion that reaches expandAt: it allocates blocks until the table is sure to have room for one entry
// more, and splits a leaf if it is time. It fails, and changes nothing, if the arena is full.
func (t *typed[K, V]) expand() error {
	r := t.root
	last := lastShift(t.slotSize)
	for r.count >= r.assured() {
		if r.leaves > 1 || r.blocks < leafBlocks {
			if err := t.moreBlocks(); err != nil {
				return err
			}
		} else if r.shift != last {
			if err := t.enlargeBlocks(nextShift(r.shift, last)); err != nil {
				return err
			}
		} else if !t.split() {
			return fmt.Errorf("table: %q: no room for more than %d entries: %w", t.arena.Name(), r.count, guard.ErrNoMemory)
		}
	}
	if r.count >= r.splitAt && r.shift == last {
		t.split() // or later, if there is no memory now
		r.scheduleSplit()
	}
	r.schedule()
	return nil
}

// growLeaf gives a leaf one or some blocks more, if there are any. It fails only if the leaf is full.
func (t *typed[K, V]) growLeaf(number uint32) error {
	r := t.root
	l := r.leafAt(number)
	blocks := l.groups >> r.shift
	more := moreFor(blocks, number)
	if last := lastShift(t.slotSize); blocks+more > smallBlocks && r.shift != last && t.enlargeBlocks(nextShift(r.shift, last)) == nil {
		return nil
	}
	if blocks == leafBlocks {
		return t.splitFor(number)
	}
	for t.freeBlocks() < uint64(more) && r.blocks < r.plenty() && t.moreBlocks() == nil {
	}
	if t.freeBlocks() == 0 && !t.reclaim(number, false) && (r.blocks >= r.wanted() || t.moreBlocks() != nil) {
		if l.count < l.groups*groupSlots*31/32 {
			return nil // fuller than is good
		}
		if err := t.moreBlocks(); err != nil && !t.reclaim(number, true) {
			if l.count < l.groups*groupSlots {
				return nil
			}
			return err
		}
	}
	t.resize(number, min(blocks+uint32(min(t.freeBlocks(), uint64(more))), leafBlocks))
	r.schedule()
	return nil
}

// farReach is how many groups an entry may lie behind its home before its leaf grows: see relieve.
const farReach = 48

// relieve grows a leaf in which too many groups in a row are full, unless it is so empty that it may shrink, or the table has no memory to spare. Of two leaves with
// the same load one may be like that: homes are denser in a part of it, by chance, or because an iteration that deletes was left in the middle.
func (t *typed[K, V]) relieve(number uint32) {
	r := t.root
	l := r.leafAt(number)
	if l.count*loadPer >= l.groups*loadLow && (t.freeBlocks() > 0 || r.blocks < r.plenty()) {
		_ = t.growLeaf(number) // without memory it stays as it is
	}
}

// splitFor splits leaves because a leaf cannot have more blocks: some of them, and if the leaf is full all up to this
// one. That may leave the leaf as full as before. It happens if entries are deleted by their places in the table, again and again from its beginning.
func (t *typed[K, V]) splitFor(number uint32) error {
	r := t.root
	depth := r.depthOf(number)
	for i := 0; r.depthOf(number) == depth; i++ {
		l := r.leafAt(number)
		full := l.count == l.groups*groupSlots
		if !full && i == splitPeriod {
			break
		}
		if !t.split() {
			if full {
				return fmt.Errorf("table: %q: no room for more than %d entries with like hashes: %w", t.arena.Name(), l.count, guard.ErrNoMemory)
			}
			break
		}
	}
	r.scheduleSplit()
	r.schedule()
	return nil
}

// reclaim takes a block from a leaf that can do without, other than one. It looks at some leaves; or, if hard, at all of them,
// and takes it if the entries fit into what is left.
func (t *typed[K, V]) reclaim(other uint32, hard bool) bool {
	r := t.root
	looks := min(r.leaves, 64)
	if hard {
		looks = r.leaves
	}
	for range looks {
		number := r.hand % r.leaves // there may be fewer leaves than before
		r.hand = number + 1
		l := r.leafAt(number)
		if number == other || l.groups == 0 {
			continue
		}
		blocks := l.groups>>r.shift - 1
		room := r.comfortable(uint64(blocks)) * 15 / 16
		if hard {
			room = uint64(blocks) * r.slots()
		}
		if uint64(l.count) <= room {
			t.resize(number, blocks)
			return true
		}
	}
	return false
}

// shrinkLeaf takes memory from a leaf whose count has fallen below that of one block less.
func (t *typed[K, V]) shrinkLeaf(number uint32) {
	r := t.root
	if l := r.leafAt(number); l.count > 0 {
		t.resize(number, max(uint32(r.blocksFor(uint64(l.count))), 1))
	} else if r.leaves > 1 {
		t.resize(number, 0)
	}
}

// enlargeBlocks gives a table of one leaf larger blocks. It fails, and changes nothing, if the arena is full.
func (t *typed[K, V]) enlargeBlocks(shift uint32) error {
	r := t.root
	was := r.shift
	r.setShift(shift)
	blocks := r.blocksFor(r.most) + 1
	off, err := t.alloc(blocks, t.blockSize())
	if err != nil {
		r.setShift(was)
		return err
	}
	l := r.leafAt(0)
	old := *l
	spare := t.allBlocks(&old, was)
	r.free, r.freeCount, r.blocks = 0, 0, blocks
	r.fresh, r.freshEnd = off, off+blocks*uint64(t.blockSize())
	*l = leaf{}
	t.takeBlocks(l, uint32(blocks))
	l.groups = uint32(blocks) << shift
	r.lastSize = max(r.lastSize, l.groups)
	for i := range old.groups {
		g := groupAt(t.base(), &old, i, was, t.slotSize)
		for m := g.used(); m != 0; m &= m - 1 {
			e := slotAt[K, V](g, m.first())
			*t.put(l, t.storedHash(e, g.tag(m.first()), 0), l.groups) = *e
			l.count++
		}
	}
	t.recycle(spare, t.blockSizeWith(was))
	r.changes++
	r.scheduleSplit()
	r.schedule()
	return nil
}

// shrinkAll merges leaves as long as what is left needs no more than three quarters of the blocks at which leaves are split, and
// takes from all leaves the blocks that they can do without.
func (t *typed[K, V]) shrinkAll() {
	r := t.root
	for r.leaves > 1 && r.count < uint64(r.leaves)*r.comfortable(splitBlocks)*3/8 {
		if !t.merge() {
			break
		}
	}
	for number := range r.leaves {
		if l := r.leafAt(number); r.blocksFor(uint64(l.count)) < uint64(l.groups>>r.shift) {
			t.resize(number, uint32(r.blocksFor(uint64(l.count))))
		}
	}
	r.scheduleSplit()
	r.schedule()
}

// merge puts the entries of the last leaf into the one from which it was split. It tells whether they have room together.
func (t *typed[K, V]) merge() bool {
	r := t.root
	last := r.leaves - 1
	number := last - 1<<(bits.Len32(last)-1)
	l, twin := r.leafAt(number), r.leafAt(last)
	all := uint64(l.count) + uint64(twin.count)
	blocks := r.blocksFor(all)
	if r.comfortable(blocks) < all || r.assuredWith(last) < r.most {
		return false
	}
	had := uint64(l.groups >> r.shift)
	for t.freeBlocks()+had < blocks {
		if t.moreBlocks() != nil {
			return false
		}
	}
	t.resize(number, uint32(max(blocks, had)))
	for i := range twin.groups {
		g := r.group(twin, i, t.slotSize)
		for m := g.used(); m != 0; m &= m - 1 {
			e := slotAt[K, V](g, m.first())
			*t.put(l, t.storedHash(e, g.tag(m.first()), uint64(last)), l.groups) = *e
			l.count++
		}
	}
	groups := twin.groups
	twin.groups = 0
	t.giveBlocks(twin, groups>>r.shift)
	r.setLeaves(last)
	r.changes++
	return true
}
