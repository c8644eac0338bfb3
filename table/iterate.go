package table

import (
	"math"
	"unsafe"
)

// candidate is an entry that is to be visited.
type candidate[K comparable, V any] struct {
	slot *slot[K, V]
	key  K
	copy *slot[K, V] // of the entry, if its key does not equal itself (NaN), so that it cannot be searched for
}

// forEach calls visit for every entry until visit returns false. visit may change the table.
//
// It goes through the hashes in order, one home at a time. Entries move between layouts, but their hashes
// stay the same: so no entry is missed and none comes twice, whatever is moved in between.
func (t *typed[K, V]) forEach(visit func(e *slot[K, V]) bool) {
	r := t.root
	var batch []candidate[K, V]
	for from, more := uint64(1), true; more; {
		l, home := r.homeOf(from)
		last := l.lastHash(home - l.first)
		batch = batch[:0]
		if old := r.current(); l != old {
			last = min(last, r.boundary)
			if r.lagging > 0 && r.lagFrom <= last {
				batch = t.collect(batch, old, old.first+r.moved, from, last)
			}
		}
		batch = t.collect(batch, l, home, from, last)
		changes := r.changes
		for i := range batch {
			e := batch[i].slot
			if r.changes != changes {
				if e = batch[i].copy; e == nil {
					e = t.find(t, batch[i].key)
				}
				if e == nil {
					continue // deleted
				}
			}
			if !visit(e) {
				return
			}
			t.usable()
		}
		from, more = last+1, last < math.MaxUint64
	}
}

// collect appends the entries that a search beginning at a group can meet, and whose hashes lie between
// from and last.
func (t *typed[K, V]) collect(batch []candidate[K, V], l *layout, address, from, last uint64) []candidate[K, V] {
	for {
		header, slots := groupAt(t.base(), l.dir, address, unsafe.Sizeof(slot[K, V]{}))
		even, odd := words(header)
		for m := usedSlots(even, odd); m != 0; m &= m - 1 {
			e := (*slot[K, V])(unsafe.Add(slots, m.first()*unsafe.Sizeof(slot[K, V]{})))
			hash := hashInline(&t.untyped, unsafe.Pointer(e), unsafe.Sizeof(e.key), (*untyped).hash)
			if hash-from > last-from {
				continue
			}
			c := candidate[K, V]{slot: e, key: e.key}
			if c.key != c.key {
				entry := *e
				c.copy = &entry
			}
			batch = append(batch, c)
		}
		if odd>>56 == 0 {
			return batch
		}
		address++
	}
}
