package table

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// scratch has the entries of a leaf that is rebuilt, on the Go heap.
type scratch struct {
	memory []uint64 // the blocks of the leaf, one after the other
	hashes []uint64 // of the entries
	slots  []uint32 // where the entries are in memory, in bytes
	later  []uint32 // numbers of the entries whose home is full
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// takeOut copies the entries of a leaf to s, and their hashes. The leaf stays as it is.
func (t *typed[K, V]) takeOut(s *scratch, number uint32, l *leaf) {
	r := t.root
	size := t.blockSize()
	blocks := uintptr(l.groups >> r.shift)
	if words := (blocks*size + 7) / 8; uintptr(cap(s.memory)) < words {
		s.memory = make([]uint64, words)
	}
	memory := unsafe.Pointer(unsafe.SliceData(s.memory[:cap(s.memory)]))
	s.hashes, s.slots, s.later = s.hashes[:0], s.slots[:0], s.later[:0]
	for b := range blocks {
		to := unsafe.Add(memory, b*size)
		copy(unsafe.Slice((*byte)(to), size), unsafe.Slice((*byte)(t.at(uint64(l.blocks[b])*blockUnit)), size))
		for i := range uintptr(1) << r.shift {
			h := (*header)(unsafe.Add(to, i*t.groupSize))
			for m := usedSlots(h.tags); m != 0; m &= m - 1 {
				e := slotAt[K, V](h, m.first())
				s.hashes = append(s.hashes, t.storedHash(e, h.tag(m.first()), number))
				s.slots = append(s.slots, uint32(uintptr(unsafe.Pointer(e))-uintptr(memory)))
			}
		}
	}
}

// putBack puts the entries of s into their leaves, which have room for them. First those whose homes have
// room: so as few as possible are displaced.
func (t *typed[K, V]) putBack(s *scratch) {
	r := t.root
	memory := unsafe.Pointer(unsafe.SliceData(s.memory[:cap(s.memory)]))
	for i, hash := range s.hashes {
		l := r.leafOf(hash)
		g := r.group(l, homeOf(hash, l.groups), t.groupSize)
		free := freeSlots(g.tags)
		if free == 0 {
			s.later = append(s.later, uint32(i))
			continue
		}
		g.set(free.first(), tagOf(hash), false)
		*slotAt[K, V](g, free.first()) = *(*slot[K, V])(unsafe.Add(memory, s.slots[i]))
		l.count++
	}
	for _, i := range s.later {
		hash := s.hashes[i]
		l := r.leafOf(hash)
		*t.displace(l, hash, homeOf(hash, l.groups)) = *(*slot[K, V])(unsafe.Add(memory, s.slots[i]))
		l.count++
	}
	r.changes++
}

// displace makes a slot for an entry in the first group with room behind a group that is full. The leaf has room.
func (t *typed[K, V]) displace(l *leaf, hash uint64, from uint32) *slot[K, V] {
	r := t.root
	for i := from; ; {
		r.group(l, i, t.groupSize).addPassed(hash)
		i = l.after(i)
		g := r.group(l, i, t.groupSize)
		if free := freeSlots(g.tags); free != 0 {
			g.set(free.first(), tagOf(hash), true)
			return slotAt[K, V](g, free.first())
		}
	}
}

// resize rebuilds a leaf with a number of blocks. It needs as many free ones as the leaf gets more.
func (t *typed[K, V]) resize(number, blocks uint32) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	l := t.root.leafAt(number)
	t.takeOut(s, number, l)
	t.setBlocks(l, blocks)
	t.putBack(s)
	t.root.lastSize = max(t.root.lastSize, l.groups)
}

// setBlocks makes a leaf an empty one of a number of blocks.
func (u *untyped) setBlocks(l *leaf, blocks uint32) {
	r := u.root
	have := l.groups >> r.shift
	for ; have > blocks; have-- {
		u.giveBlock(l.blocks[have-1])
		l.blocks[have-1] = 0
	}
	for i := range have {
		u.clearHeaders(u.at(uint64(l.blocks[i]) * blockUnit))
	}
	for ; have < blocks; have++ {
		l.blocks[have] = u.takeBlock()
	}
	l.groups, l.count = blocks<<r.shift, 0
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
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	t.takeOut(s, number, l)
	moving := uint64(0)
	for _, hash := range s.hashes {
		moving += hash >> bit & 1
	}
	blocks, twinBlocks := r.blocksFor(uint64(l.count)-moving), r.blocksFor(moving)
	for have := uint64(l.groups >> r.shift); have+t.freeBlocks() < blocks+twinBlocks; {
		if t.moreBlocks() != nil {
			return false
		}
	}
	for r.assuredWith(r.leaves+1) < r.count {
		if t.moreBlocks() != nil {
			return false
		}
	}
	twin := r.leafAt(r.leaves)
	*twin = leaf{}
	r.setLeaves(r.leaves + 1)
	t.setBlocks(l, uint32(blocks))
	t.setBlocks(twin, uint32(twinBlocks))
	t.putBack(s)
	return true
}

// expand is called by the insertion that reaches expandAt: it allocates blocks until the table is sure to have room for one entry
// more, and splits a leaf if it is time. It fails, and changes nothing, if the arena is full.
func (t *typed[K, V]) expand() error {
	r := t.root
	last := lastShift(t.groupSize)
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
	more := max(1, blocks/8)
	if last := lastShift(t.groupSize); blocks+more > leafBlocks && r.shift != last {
		return t.enlargeBlocks(nextShift(r.shift, last))
	}
	if blocks == leafBlocks {
		return t.splitFor(number)
	}
	if t.freeBlocks() == 0 && !(r.blocks < r.wanted() && t.moreBlocks() == nil) && !t.reclaim(number, false) {
		if l.count < l.groups*groupSlots {
			return nil // fuller than is good
		}
		if err := t.moreBlocks(); err != nil && !t.reclaim(number, true) {
			return err
		}
	}
	t.resize(number, min(blocks+uint32(min(t.freeBlocks(), uint64(more))), leafBlocks))
	r.schedule()
	return nil
}

// splitFor splits leaves because a leaf cannot have more blocks: some of them, and if the leaf is full all up to this
// one. That happens if entries are deleted by their places in the table, again and again from its beginning.
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
		number := r.hand
		if r.hand++; r.hand >= r.leaves {
			r.hand = 0
		}
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
		t.resize(number, l.groups>>r.shift-1)
	} else if r.leaves > 1 {
		t.setBlocks(l, 0)
	}
}

// enlargeBlocks gives a table of one leaf larger blocks. It fails, and changes nothing, if the arena is full.
func (t *typed[K, V]) enlargeBlocks(shift uint32) error {
	r := t.root
	l := r.leafAt(0)
	was := r.shift
	r.shift = shift
	blocks := r.blocksFor(r.count) + 1
	off, err := t.alloc(blocks, t.blockSize())
	r.shift = was
	if err != nil {
		return err
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	t.takeOut(s, 0, l)
	r.shift = shift
	// The blocks of before stay unused: all of them together are smaller than one or two new ones.
	r.free, r.freeCount, r.blocks = 0, 0, blocks
	r.fresh, r.freshEnd = off, off+blocks*uint64(t.blockSize())
	*l = leaf{}
	t.setBlocks(l, uint32(blocks))
	t.putBack(s)
	r.lastSize = max(r.lastSize, l.groups)
	r.scheduleSplit()
	r.schedule()
	return nil
}
