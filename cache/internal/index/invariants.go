package index

import "github.com/seed-9a6c551e/offheap/internal/invariant"

// checked checks a small index after a change, in builds with -tags invariants.
func (x *Index) checked() {
	if invariant.Enabled && x.entries < 200 {
		x.Check()
	}
}

// Check panics if an invariant of the index does not hold.
func (x *Index) Check() {
	holds := func(ok bool, what string, about ...any) { invariant.Holds("cache: index", ok, what, about...) }
	seen := map[uint32]bool{}
	use := func(b uint32) {
		holds(!seen[b], "block %d is used once", b)
		seen[b] = true
	}
	for _, b := range x.free {
		use(b)
	}
	entries := 0
	for number := range x.leaves {
		l := &x.leaves[number]
		holds(l.size <= maxBlocks, "leaf %d has %d blocks", number, l.size)
		passed := make([]uint16, l.buckets())
		n := uint32(0)
		for _, b := range l.blocks[:l.size] {
			use(b)
		}
		for i := range l.buckets() {
			b := x.bucket(l, i)
			for k, p := range b.places {
				holds(b.used>>k&1 == 1 == (p != 0), "bucket %d of leaf %d marks the slots that are used", i, number)
				if p == 0 {
					continue
				}
				n++
				for at := l.home(b.tags[k]); at != i; at = (at + 1) % l.buckets() {
					passed[at]++
				}
			}
		}
		for i := range l.buckets() {
			holds(x.bucket(l, i).passed == passed[i], "bucket %d of leaf %d counts %d entries that passed it, which are %d", i, number, x.bucket(l, i).passed, passed[i])
		}
		holds(n == l.entries, "leaf %d has %d entries, and counts %d", number, n, l.entries)
		entries += int(n)
	}
	holds(entries == x.entries, "there are %d entries, and Len is %d", entries, x.entries)
	retired := int(x.out.n) - x.out.left
	holds(len(seen)+retired == x.blocks, "%d blocks are used or free, %d have retired, of %d", len(seen), retired, x.blocks)
}
