// Package index maps hashes to the places of a cache's entries: a hash table whose search reads one CPU cache line.
//
// It does not know keys. Entries with equal tags may be different, so a search offers places one after the other, and its
// caller compares what lies there.
//
// # Memory
//
//	hash     63       48 47                16 15       0
//	         │   tag   │ │       leaf       │ │ shard  │ (of the cache)
//
//	leaves   ┌───────────────────────────────────────────┐
//	         │ entries, number of blocks, their places … │  leaf 0: hashes whose leaf bits end in 00
//	         │ …                                         │  leaf 1: … in 01
//	         └───────────────────────────│───────────────┘
//	                                     ▼
//	block    ┌────────┬────────┬────────┬────────┐
//	         │ bucket │ bucket │ bucket │ bucket │           256 bytes
//	         └────────┴────────┴────────┴────────┘
//	bucket   ┌─────────┬────────┬──────┬───────────┐
//	         │ 10 tags │ passed │ used │ 10 places │         64 bytes
//	         └─────────┴────────┴──────┴───────────┘
//
// A slot takes 6 bytes: 16 bits of the hash, and 32 bits that say where the entry lies. A place is never 0, so that is a
// free slot. Blocks lie off-heap, in memory that Add was given; leaves lie on the Go heap, without pointers, and take
// 0.4 bytes an entry.
//
// # Search
//
//  1. The leaf bits of the hash choose a leaf, whose line mostly is in the processor's cache.
//  2. The tag chooses the home bucket: tag · buckets / 2^16. So a leaf grows by any number of blocks, and its entries
//     are put into their new homes without a look at their keys.
//  3. All ten tags are compared at once.
//  4. An entry that finds its home full goes to the next bucket with room. Each bucket that it passes counts it, so a
//     search ends at the first bucket that none has passed. Removal counts down, and leaves nothing behind.
//
// # Growth
//
// A leaf grows by an eighth, and by one block at least, when it is fuller than 0.875. Leaves are split one after the
// other (linear hashing): the next one when there are more than 380 entries for each leaf. For a split the caller
// says the hash of each entry again. Nothing else waits: no insertion rebuilds more than a leaf. An index that is to be filled has
// its leaves at once, in their final sizes: see Expect.
//
// A leaf gives blocks back when it has lost a third of its entries. They serve other leaves. When a fourth of the blocks is free, the
// caller may have memory back: see retire.go.
//
// An Index is for one goroutine at a time: the cache holds a shard's lock.
package index

import (
	"math/bits"
	"sync"
	"unsafe"
)

const (
	bucketsPerBlock = 4
	// BlockSize is the bytes of a block. Memory for Add is a multiple of it, and aligned to it.
	BlockSize = bucketsPerBlock * bucketSize

	maxBlocks    = 32  // of a leaf
	leafMean     = 380 // entries for each leaf, above which one is split
	fullPerBlock = 35  // entries for each block, above which a leaf grows: 0.875 of the slots
	lowPerBlock  = 24  // entries for each block, below which a leaf shrinks

	tagShift  = 48
	leafShift = 16

	// Spare is how many blocks must be free before an insertion: a split takes one or two, and growth some.
	Spare = 8
)

// leaf has the entries whose hashes end in certain bits.
type leaf struct {
	entries uint32
	size    uint32            // blocks
	blocks  [maxBlocks]uint32 // where each lies, in units of BlockSize from the base on
}

// Index maps hashes to places. Call Open before anything else.
type Index struct {
	base    unsafe.Pointer
	leaves  []leaf
	mask    uint32 // 2^n - 1 for the largest 2^n that is at most the number of leaves, once more: see leafOf
	entries int
	expects int      // entries: see Expect
	blocks  int      // that Add gave
	free    []uint32 // blocks
	out     retiring
}

// Open prepares an empty index whose memory will lie behind base.
func (x *Index) Open(base unsafe.Pointer) {
	*x = Index{base: base, leaves: make([]leaf, 1)}
}

// Add gives the index memory, n bytes from off behind the base on. Both are multiples of BlockSize.
func (x *Index) Add(off uintptr, n int) {
	for at := off; at < off+uintptr(n); at += BlockSize {
		x.free = append(x.free, uint32(at/BlockSize))
	}
	x.blocks += n / BlockSize
}

// Expect prepares an index without entries for n insertions: it has the leaves for n entries at once, and each begins with as many blocks as it will need.
// So no leaf is split and few grow. It takes no blocks yet. Expect(0) ends it. With entries the index stays as it is.
func (x *Index) Expect(n int) {
	if x.expects = 0; n == 0 || x.entries > 0 {
		return
	}
	x.expects = n
	leaves := (n + leafMean - 1) / leafMean
	x.leaves = make([]leaf, leaves)
	x.mask = max(uint32(1)<<bits.Len(uint(leaves-1))/2, 1) - 1
}

// Expects tells whether Expect has prepared the index for insertions.
func (x *Index) Expects() bool { return x.expects > 0 }

// Ready tells whether there are free blocks for one insertion. If not, call Add.
func (x *Index) Ready() bool {
	return len(x.free) >= Spare && (!x.Expects() || len(x.free) >= maxBlocks)
}

// Len returns the number of entries.
func (x *Index) Len() int { return x.entries }

// Bytes returns the bytes that Add gave.
func (x *Index) Bytes() int { return x.blocks * BlockSize }

func tagOf(hash uint64) uint16 { return uint16(hash >> tagShift) }

// leafOf returns the number of the leaf of a hash.
func (x *Index) leafOf(hash uint64) uint32 {
	n := uint32(hash>>leafShift) & (x.mask<<1 | 1)
	if n >= uint32(len(x.leaves)) {
		n &= x.mask
	}
	return n
}

// bucket returns a bucket of the leaf.
func (x *Index) bucket(l *leaf, n uint32) *Bucket {
	off := uintptr(l.blocks[n/bucketsPerBlock%maxBlocks])*BlockSize + uintptr(n%bucketsPerBlock)*bucketSize
	return (*Bucket)(unsafe.Add(x.base, off))
}

func (l *leaf) buckets() uint32 { return l.size * bucketsPerBlock }

// home returns the bucket where entries with a tag belong. Buckets are ordered by tags.
func (l *leaf) home(tag uint16) uint32 { return uint32(tag) * l.buckets() >> 16 }

// Touch reads from the line where a search for a hash begins. Before several searches, a Touch for each has the processor wait for their cache misses at once.
// The result is for the compiler, which else left the load out.
func (x *Index) Touch(hash uint64) (some uint16) {
	l := &x.leaves[x.leafOf(hash)]
	if l.size == 0 {
		return 0
	}
	return x.bucket(l, l.home(tagOf(hash))).passed
}

// Search is a search for an entry with a hash. Its caller compares the entries at the places that Next returns.
type Search struct {
	b     *Bucket
	slots uint32 // of b, whose tags are equal and that Next has not returned
	at    int32  // the slot that Next returned last
	tag   uint16
	n     uint32 // the number of b in its leaf
	left  uint32 // buckets of the leaf that were not looked at
	leaf  *leaf
	index *Index
}

// Find begins a search.
func (x *Index) Find(hash uint64) (s Search) {
	l := &x.leaves[x.leafOf(hash)]
	if l.size == 0 {
		return s
	}
	s.index, s.leaf, s.tag, s.left = x, l, tagOf(hash), l.buckets()-1
	s.n = l.home(s.tag)
	s.b = x.bucket(l, s.n)
	s.slots = s.b.equal(s.tag)
	return s
}

// Next returns the place of the next entry that may be the one; ok is false if there is none. Calls after that are not
// allowed.
func (s *Search) Next() (place uint32, ok bool) {
	for {
		for s.slots != 0 {
			i := lowest(s.slots)
			s.slots &= s.slots - 1
			if place = s.b.places[i]; place != 0 {
				s.at = int32(i)
				return place, true
			}
		}
		if s.b == nil || s.b.passed == 0 || s.left == 0 {
			return 0, false
		}
		s.step()
	}
}

// step goes to the next bucket.
func (s *Search) step() {
	s.left--
	if s.n++; s.n == s.leaf.buckets() {
		s.n = 0
	}
	s.b = s.index.bucket(s.leaf, s.n)
	s.slots = s.b.equal(s.tag)
}

// Set gives another place to the entry that Next returned.
func (s *Search) Set(place uint32) { s.b.places[s.at] = place }

// Remove removes the entry that Next returned. The Search is over.
func (s *Search) Remove() {
	x, l := s.index, s.leaf
	// The bucket of the slot counts nothing for it; those from its home to here do.
	for n := l.home(s.b.tags[s.at]); n != s.n; {
		x.bucket(l, n).passed--
		if n++; n == l.buckets() {
			n = 0
		}
	}
	s.b.remove(int(s.at))
	x.entries--
	l.entries--
	x.shrink(l)
	x.checked()
}

// Insert adds an entry, which must not be there. rehash returns the hash of an entry. Ready must hold.
func (x *Index) Insert(hash uint64, place uint32, rehash func(place uint32) uint64) {
	if x.entries >= leafMean*len(x.leaves) {
		x.split(rehash)
	}
	n := x.leafOf(hash)
	l := &x.leaves[n]
	if l.size == 0 && x.Expects() {
		x.empty(l, blocksFor(uint32(x.expects>>x.depth(n))))
	}
	for l.entries+1 > l.size*fullPerBlock && l.size < maxBlocks && len(x.free) > 0 {
		x.resize(l, min(l.size+max(l.size/8, 1), maxBlocks, l.size+uint32(len(x.free))))
	}
	x.put(l, tagOf(hash), place)
	l.entries++
	x.entries++
	x.checked()
}

// HasRoom tells whether Insert will find a free slot for a hash. It is false only if hashes are no hashes: a leaf has more
// than twice as many slots as the mean.
func (x *Index) HasRoom(hash uint64) bool {
	l := &x.leaves[x.leafOf(hash)]
	return l.entries < maxBlocks*bucketsPerBlock*slotsPerBucket-1
}

// put puts an entry into the first bucket with room from its home on.
func (x *Index) put(l *leaf, tag uint16, place uint32) {
	for n := l.home(tag); ; {
		b := x.bucket(l, n)
		if i, ok := b.room(); ok {
			b.put(i, tag, place)
			return
		}
		b.passed++
		if n++; n == l.buckets() {
			n = 0
		}
	}
}

// take takes a free block, and clears it.
func (x *Index) take() uint32 {
	b := x.free[len(x.free)-1]
	x.free = x.free[:len(x.free)-1]
	*(*[BlockSize]byte)(unsafe.Add(x.base, uintptr(b)*BlockSize)) = [BlockSize]byte{}
	return b
}

// entry is the contents of a slot.
type entry struct {
	place uint32
	tag   uint16
}

// leafSlots is the most slots of a leaf.
const leafSlots = maxBlocks * bucketsPerBlock * slotsPerBucket

// scratch has room for the entries of a leaf, twice: on the stack it would make that of every goroutine grow to 64 KiB.
var scratch = sync.Pool{New: func() any { return new([2][leafSlots]entry) }}

// gather copies all entries of a leaf, in the order of its buckets.
func (x *Index) gather(l *leaf, all *[leafSlots]entry) (n int) {
	for i := range l.buckets() {
		b := x.bucket(l, i)
		for k, p := range b.places {
			if p != 0 {
				all[n] = entry{p, b.tags[k]}
				n++
			}
		}
	}
	return n
}

// empty clears a leaf, and sets its size. There are free blocks for it.
func (x *Index) empty(l *leaf, size uint32) {
	for l.size > size {
		l.size--
		x.release(l.blocks[l.size])
	}
	for i := range l.size {
		*(*[BlockSize]byte)(unsafe.Add(x.base, uintptr(l.blocks[i])*BlockSize)) = [BlockSize]byte{}
	}
	for l.size < size {
		l.blocks[l.size] = x.take()
		l.size++
	}
}

// resize gives a leaf another number of blocks.
func (x *Index) resize(l *leaf, size uint32) {
	t := scratch.Get().(*[2][leafSlots]entry)
	defer scratch.Put(t)
	all := &t[0]
	n := x.gather(l, all)
	x.empty(l, size)
	for _, e := range all[:n] {
		x.put(l, e.tag, e.place)
	}
}

// shrink gives blocks back if the leaf has lost many entries.
func (x *Index) shrink(l *leaf) {
	if l.size > 1 && l.entries < (l.size-1)*lowPerBlock || l.entries == 0 {
		x.resize(l, blocksFor(l.entries))
	}
}

// blocksFor returns how many blocks a leaf is given for some entries.
func blocksFor(entries uint32) uint32 { return min((entries+fullPerBlock-1)/fullPerBlock, maxBlocks) }

// split splits the next leaf, whose turn it is, by one more bit of the hashes.
func (x *Index) split(rehash func(place uint32) uint64) {
	if len(x.leaves) > int(x.mask)*2+1 {
		x.mask = x.mask<<1 | 1
	}
	from := uint32(len(x.leaves)) &^ (x.mask + 1)
	bit := uint64(x.mask+1) << leafShift
	t := scratch.Get().(*[2][leafSlots]entry)
	defer scratch.Put(t)
	all, upper := &t[0], &t[1]
	n := x.gather(&x.leaves[from], all)
	low, high := 0, 0
	for _, e := range all[:n] {
		if rehash(e.place)&bit != 0 {
			upper[high] = e
			high++
		} else {
			all[low] = e
			low++
		}
	}
	x.leaves = append(x.leaves, leaf{})
	l, u := &x.leaves[from], &x.leaves[len(x.leaves)-1]
	x.empty(l, 0)
	x.empty(l, blocksFor(uint32(low)))
	x.empty(u, blocksFor(uint32(high)))
	for _, e := range all[:low] {
		x.put(l, e.tag, e.place)
	}
	for _, e := range upper[:high] {
		x.put(u, e.tag, e.place)
	}
	l.entries, u.entries = uint32(low), uint32(high)
}
