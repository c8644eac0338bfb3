package table

import (
	"math"
	"unsafe"
)

// found is an entry that is to be visited.
type found[K comparable, V any] struct {
	slot *slot[K, V]
	key  K
	kept *slot[K, V] // a copy, where the key does not equal itself, so that it cannot be found again
}

// each calls visit for every entry until it returns false. visit may change the table.
//
// It goes through the hashes in order, a home at a time. Where an entry is depends on the scales,
// but its hash does not: so nothing is missed and nothing comes twice, however much is moved in
// between.
func (t *table[K, V]) each(visit func(s *slot[K, V]) bool) {
	h := t.head
	var batch []found[K, V]
	for from, more := uint64(1), true; more; {
		s, home := h.seek(from)
		last := s.last(home - s.first)
		batch = batch[:0]
		if old := h.old(); s != old {
			last = min(last, h.boundary)
			if h.leftSize > 0 && h.left <= last {
				batch = t.collect(batch, old, old.first+h.moved, from, last)
			}
		}
		batch = t.collect(batch, s, home, from, last)
		changes := h.changes
		for i := range batch {
			e := batch[i].slot
			if h.changes != changes {
				if e = batch[i].kept; e == nil {
					e = t.find(t, batch[i].key)
				}
				if e == nil {
					continue // deleted
				}
			}
			if !visit(e) {
				return
			}
			t.alive()
		}
		from, more = last+1, last < math.MaxUint64
	}
}

// collect appends the entries with hashes from one to another that a search from an address on can
// meet.
func (t *table[K, V]) collect(batch []found[K, V], s *scale, address, from, last uint64) []found[K, V] {
	for {
		header, slots := groupAt(t.base(), s.dir, address, unsafe.Sizeof(slot[K, V]{}))
		even, odd := words(header)
		for m := used(even, odd); m != 0; m &= m - 1 {
			e := (*slot[K, V])(unsafe.Add(slots, m.first()*unsafe.Sizeof(slot[K, V]{})))
			hash := hashInline(&t.ground, unsafe.Pointer(e), unsafe.Sizeof(e.key), (*ground).hash)
			if hash-from > last-from {
				continue
			}
			f := found[K, V]{slot: e, key: e.key}
			if f.key != f.key {
				kept := *e
				f.kept = &kept
			}
			batch = append(batch, f)
		}
		if odd>>56 == 0 {
			return batch
		}
		address++
	}
}
