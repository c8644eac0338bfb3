package index

import "testing"

// TestBlockSizes tries every length up to 1 MiB: its block is large enough, wastes at most half of the
// length, and shares its list with no other size.
func TestBlockSizes(t *testing.T) {
	lists := make(map[int]uint32)
	last := uint32(0)
	for n := uint32(1); n < 1<<20; n++ {
		size := blockSize(n)
		if size < n || size%8 != 0 || size < last || blockSize(size) != size || n > 32 && size > n/2*3 {
			t.Fatalf("block of %d for %d bytes", size, n)
		}
		if known, ok := lists[class(size)]; ok && known != size {
			t.Fatalf("blocks of %d and %d share a list", known, size)
		}
		lists[class(size)] = size
		last = size
	}
	if blockSize(0) != 0 {
		t.Errorf("block of %d for nothing", blockSize(0))
	}
	if c := class(blockSize(1 << 31)); c >= len(offHeap{}.free) {
		t.Errorf("class %d of the largest block", c)
	}
}

// TestBlocksAreUsedAgain grows postings twice: the blocks that the first have outgrown serve the second,
// and the bytes of both are intact.
func TestBlocksAreUsedAgain(t *testing.T) {
	x := must(newOffHeap())
	defer x.Close()
	grow := func(w *offWord, to int) {
		for i := 0; i < to; i += 3 {
			x.append(w, []byte{byte(i), byte(i >> 8), byte(i >> 16)})
		}
	}
	check := func(w *offWord) {
		for i, b := range w.block.Slice(x.memory, int(w.length)) {
			if want := byte((i - i%3) >> (i % 3 * 8)); b != want {
				t.Fatalf("byte %d is %d, want %d", i, b, want)
			}
		}
	}
	var large, small offWord
	grow(&large, 99_999)
	before := x.memory.Stats().Live
	grow(&small, 60_000)
	if after := x.memory.Stats().Live; after != before {
		t.Errorf("%d bytes more, although blocks were free", after-before)
	}
	check(&large)
	check(&small)
}
