package table

import (
	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// checkIsDue tells whether to check the table after a change: never but in builds with -tags invariants, there a small table after
// every change, and a large one now and then, because a check visits every entry.
func (u *untyped) checkIsDue() bool {
	return invariant.Enabled && (u.root.count < 200 || u.root.changes%(1<<16) == 0)
}

// checkAfterChange checks the table if that is due.
func (t *typed[K, V]) checkAfterChange() {
	if t.checkIsDue() {
		t.check()
	}
}

// checkAfterChange checks the memory of keys, too.
func (m *Strings[V]) checkAfterChange() {
	if m.checkIsDue() {
		m.checkKeys()
	}
}

// checkKeys panics if an invariant of the table or of the memory of its keys does not hold.
func (m *Strings[V]) checkKeys() {
	m.check()
	m.keyHeap().Check(m.base(), func(yield func(off uint64, size int) bool) {
		m.forEach(func(e *slot[stringKey, V]) bool { return yield(e.key.off, int(e.key.size)) })
	})
}

// check panics if an invariant of the table does not hold.
func (t *typed[K, V]) check() {
	holds := func(ok bool, what string, about ...any) { invariant.Holds("table", ok, what, about...) }
	r := t.root
	count, blocks := uint64(0), t.freeBlocks()
	for number := range r.leaves {
		l := r.leafAt(number)
		holds(l.groups>>r.shift<<r.shift == l.groups && l.groups>>r.shift <= leafBlocks, "leaf %d has whole blocks: %d groups", number, l.groups)
		holds(l.groups <= r.lastSize, "leaf %d has %d groups, the most were %d", number, l.groups, r.lastSize)
		for i, b := range l.blocks {
			holds((b != 0) == (uint32(i) < l.groups>>r.shift), "block %d of leaf %d, which has %d groups, is %d", i, number, l.groups, b)
		}
		blocks += uint64(l.groups >> r.shift)
		passed := make([]uint64, l.groups)
		inLeaf := uint32(0)
		for i := range l.groups {
			g := r.group(l, i, t.slotSize)
			for m := g.used(); m != 0; m &= m - 1 {
				s := m.first()
				e := slotAt[K, V](g, s)
				hash := t.storedHash(e, g.tag(s), uint64(number))
				holds(r.leafIndex(hash) == number, "an entry of leaf %d lies in %d", r.leafIndex(hash), number)
				holds(g.tag(s) == tagOf(hash), "tag %d of group %d is that of the key", s, i)
				home := homeOf(hash, l.groups)
				holds(g.isDisplaced(s) == (home != i), "slot %d of group %d is displaced: %v, its home is %d", s, i, g.isDisplaced(s), home)
				for ; home != i; home = l.after(home) {
					passed[home] |= 1 << passKind(hash)
				}
				inLeaf++
			}
		}
		holds(inLeaf == l.count, "leaf %d has %d entries, its count is %d", number, inLeaf, l.count)
		for i := range l.groups {
			g := r.group(l, i, t.slotSize)
			holds(g.passed() == passed[i], "entries of kinds %08b have passed group %d, it says %08b", passed[i], i, g.passed())
		}
		count += uint64(inLeaf)
	}
	holds(count == r.count, "%d entries are there, count is %d", count, r.count)
	holds(blocks == r.blocks, "%d blocks are used and free, of %d", blocks, r.blocks)
	free := uint32(0)
	for b := r.free; b != 0; b = *(*uint32)(t.at(uint64(b) * blockUnit)) {
		free++
	}
	holds(free == r.freeCount, "%d blocks are in the list, freeCount is %d", free, r.freeCount)
	holds(r.nothing == [2]uint64{}, "the group without entries is empty")
	holds(r.count <= r.most && r.most <= r.assured(), "%d entries are not above %d, which there were, nor these above %d, which are assured", r.count, r.most, r.assured())
}
