package index

import (
	"errors"
	"math/bits"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/table"
)

// offHeap is the index outside the Go heap: the collector sees a few objects for any number of words.
//
//	words: Strings ─── word ──▶ offWord ── Ref ──▶ block: bytes of postings
//	documents ── number ──▶ offDocument ── Ref ──▶ name
//
// An arena does not free single objects. A block that postings have outgrown goes to the list of free
// blocks of its size, and serves other postings.
type offHeap struct {
	memory    *arena.Arena
	words     *table.Strings[offWord]
	free      [2 * 32]arena.Ref[freeBlock]
	documents []offDocument // alone in the arena table, so that it grows in place
	table     *arena.Arena
	total     uint64 // words in all documents
}

// offWord is the record of a word. The size of its block follows from length: see blockSize.
type offWord struct {
	tail   tail
	length uint32
	block  arena.Ref[byte]
}

type offDocument struct {
	name   arena.Ref[byte]
	length uint32 // of the name
	words  uint32
}

type freeBlock struct{ next arena.Ref[freeBlock] }

func newOffHeap() (*offHeap, error) {
	memory, err := arena.Open(arena.Config{Name: "index", HugePages: true})
	if err != nil {
		return nil, err
	}
	documents, err := arena.Open(arena.Config{Name: "documents"})
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return &offHeap{memory: memory, table: documents, words: table.NewStrings[offWord](memory, 0)}, nil
}

func (x *offHeap) Add(name, text []byte) {
	number, count := uint32(len(x.documents)), uint32(0)
	var room occurrence
	for position, word := range words(text) {
		w, _ := x.words.EntryBytes(word)
		x.append(w, w.tail.write(&room, number, position))
		count++
	}
	ref := arena.RefOf(x.memory, unsafe.SliceData(arena.Clone(x.memory, name)))
	x.documents = arena.Append(x.table, x.documents, offDocument{ref, uint32(len(name)), count})
	x.total += uint64(count)
}

// append appends to a word's postings. It moves them to a larger block if their block is full.
func (x *offHeap) append(w *offWord, bytes []byte) {
	length := w.length + uint32(len(bytes))
	size := blockSize(w.length)
	if length > size {
		size = blockSize(length)
		block := x.take(size)
		if w.length > 0 {
			copy(block.Slice(x.memory, int(size)), w.block.Slice(x.memory, int(w.length)))
			x.give(w.block, blockSize(w.length))
		}
		w.block = block
	}
	copy(w.block.Slice(x.memory, int(size))[w.length:], bytes)
	w.length = length
}

// blockSize returns the size of the block for length bytes: 8, 16, 24, 32, 48, 64, 96 and so on; 0 for
// no bytes.
func blockSize(length uint32) uint32 {
	if length <= 8 {
		return (length + 7) &^ 7
	}
	size := uint32(1) << bits.Len32(length-1)
	if smaller := size / 4 * 3; size > 16 && length <= smaller {
		return smaller
	}
	return size
}

// class returns the index of the list of free blocks of a size.
func class(size uint32) int { return 2*bits.Len32(size) + int(size>>(bits.Len32(size)-2)&1) - 2 }

// take returns a block, which may hold anything.
func (x *offHeap) take(size uint32) arena.Ref[byte] {
	list := &x.free[class(size)]
	if block := list.Deref(x.memory); block != nil {
		*list = block.next
		return arena.RefOf(x.memory, (*byte)(unsafe.Pointer(block)))
	}
	return arena.RefOf(x.memory, unsafe.SliceData(x.memory.Alloc(int(size), 8)))
}

// give puts a block of a size on its list of free blocks.
func (x *offHeap) give(bytes arena.Ref[byte], size uint32) {
	list := &x.free[class(size)]
	block := (*freeBlock)(unsafe.Pointer(bytes.Deref(x.memory)))
	block.next = *list
	*list = arena.RefOf(x.memory, block)
}

func (x *offHeap) Postings(word []byte) Postings {
	w := x.words.LookupBytes(word)
	if w == nil {
		return Postings{}
	}
	return Postings{w.tail.documents, w.block.Slice(x.memory, int(w.length))}
}

func (x *offHeap) Document(number uint32) (name string, words uint32) {
	d := &x.documents[number]
	return unsafe.String(unsafe.SliceData(d.name.Slice(x.memory, int(d.length))), int(d.length)), d.words
}

func (x *offHeap) Size() (documents int, words uint64) { return len(x.documents), x.total }

func (x *offHeap) Close() error { return errors.Join(x.memory.Close(), x.table.Close()) }
