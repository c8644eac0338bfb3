package table

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// checked checks the table in builds with -tags invariants: a small one after every change, a large
// one now and then, for a check visits every entry.
func (t *table[K, V]) checked() {
	if invariant.Enabled && (t.head.count < 200 || t.head.changes%(1<<16) == 0) {
		t.check()
	}
}

// check panics where an invariant of the table does not hold.
func (t *table[K, V]) check() {
	holds := func(ok bool, what string, about ...any) {
		if !ok {
			panic("table: invariant of a map broken: " + fmt.Sprintf(what, about...))
		}
	}
	h := t.head
	old := h.old()
	holds(h.moved < old.homes || h.leftSize > 0, "%d groups of %d were moved", h.moved, old.homes)
	count := uint64(0)
	for i := range h.scales {
		s := &h.scales[i]
		passed := map[uint64]uint64{}
		from := s.first
		if s == old {
			from += h.moved
		}
		for address := from; address < s.segments*segmentGroups; address++ {
			header, slots := groupAt(t.base(), s.dir, address, t.slotSize)
			for m := used(words(header)); m != 0; m &= m - 1 {
				e := slotAt[K, V](slots, m.first())
				hash := t.hash(unsafe.Pointer(e), unsafe.Sizeof(e.key))
				its, home := h.seek(hash)
				tag := tagOf(hash)
				if its != s || home != address {
					tag |= stray
				}
				if its != s && h.isLeft(hash) {
					its, home = old, from
				}
				holds(tagAt(header, m.first()) == tag, "the tag at %d is that of the key", address)
				holds(its == s && home <= address, "the entry at %d has its home there or before: %d", address, home)
				for ; home < address; home++ {
					passed[home]++
				}
				count++
			}
		}
		for address := from; address < s.segments*segmentGroups; address++ {
			n := uint64(past(t.header(s, address)))
			holds(n == passed[address] || n == pastMost && passed[address] <= h.count, "%d entries went past group %d, which says %d", passed[address], address, n)
		}
		for address := s.first; address < from; address++ {
			if s.first > 0 || address/segmentGroups == from/segmentGroups {
				even, odd := words(t.header(s, address))
				holds(even == 0 && odd == 0, "group %d is empty, its home was moved", address)
			}
		}
	}
	holds(count == h.count, "%d entries are there, count is %d", count, h.count)
	most := old.homes * groupSlots * loadMost / loadPer
	holds(h.count <= most+1+max(h.moved, old.homes)-old.homes, "%d entries are not above %d", h.count, most)
}
