package table

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// checkAfterChange checks the table in builds with -tags invariants: a small table after every change, a
// large one now and then, because a check visits every entry.
func (t *typed[K, V]) checkAfterChange() {
	if invariant.Enabled && (t.root.count < 200 || t.root.changes%(1<<16) == 0) {
		t.check()
	}
}

// check panics if an invariant of the table does not hold.
func (t *typed[K, V]) check() {
	holds := func(ok bool, what string, about ...any) { invariant.Holds("table", ok, what, about...) }
	r := t.root
	old := r.current()
	holds(r.moved < old.homes || r.lagging > 0, "%d groups of %d were moved", r.moved, old.homes)
	count := uint64(0)
	for i := range r.layouts {
		l := &r.layouts[i]
		passed := map[uint64]uint64{}
		from := l.first
		if l == old {
			from += r.moved
		}
		for address := from; address < l.segments*segmentGroups; address++ {
			header, slots := groupAt(t.base(), l.dir, address, t.slotSize)
			for m := usedSlots(words(header)); m != 0; m &= m - 1 {
				e := slotAt[K, V](slots, m.first())
				hash := t.hash(unsafe.Pointer(e), unsafe.Sizeof(e.key))
				its, home := r.homeOf(hash)
				tag := tagOf(hash)
				if its != l || home != address {
					tag |= displaced
				}
				if its != l && r.lags(hash) {
					its, home = old, from
				}
				holds(tagAt(header, m.first()) == tag, "the tag at %d is that of the key", address)
				holds(its == l && home <= address, "the home of the entry at %d, which is %d, is not behind it", address, home)
				for ; home < address; home++ {
					passed[home]++
				}
				count++
			}
		}
		for address := from; address < l.segments*segmentGroups; address++ {
			n := uint64(overflow(t.header(l, address)))
			holds(n == passed[address] || n == overflowMost && passed[address] <= r.count, "%d entries passed group %d, whose count is %d", passed[address], address, n)
		}
		for address := l.first; address < from; address++ {
			if l.first > 0 || address/segmentGroups == from/segmentGroups {
				even, odd := words(t.header(l, address))
				holds(even == 0 && odd == 0, "group %d is empty, its home was moved", address)
			}
		}
	}
	holds(count == r.count, "%d entries are there, count is %d", count, r.count)
	most := old.homes * groupSlots * loadMost / loadPer
	holds(r.count <= most+1+max(r.moved, old.homes)-old.homes, "%d entries are not above %d", r.count, most)
}
