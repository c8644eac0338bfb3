package arena

// each calls visit for every entry until it returns false. visit may change the table.
//
// It goes through the hashes in order, a home at a time. Where an entry is depends on the scales, but its
// hash does not: so nothing is missed and nothing comes twice, however much is moved in between.
func (t *table[K, V]) each(visit func(s *slot[K, V]) bool) {
	type item struct {
		slot *slot[K, V]
		key  K
		keep *slot[K, V] // a copy, if the key does not equal itself
	}
	h := t.head
	var items []item
	for from, more := uint64(0), true; more; {
		s, home := h.seek(from)
		var to uint64
		to, more = s.end(home - s.first + 1)
		if s == &h.scales[1] && (!more || h.boundary < to) {
			to, more = h.boundary, true // the home goes on beyond what was moved
		}
		items = items[:0]
		for address := home; ; address++ {
			header, slots := groupAt(t.base, s.dir, address, t.slotSize)
			even, odd := words(header)
			for m := used(even, odd); m != 0; m &= m - 1 {
				e := slotAt[K, V](slots, m.first())
				if hash := t.hash(&e.key); hash >= from && (hash < to || !more) {
					items = append(items, item{slot: e, key: e.key})
				}
			}
			if odd>>56 == 0 {
				break
			}
		}
		changes := h.changes
		for i := range items {
			it := &items[i]
			if it.key != it.key {
				keep := *it.slot
				it.keep = &keep
			}
		}
		for i := range items {
			it := &items[i]
			e := it.slot
			if h.changes != changes {
				if e = it.keep; e == nil {
					e, _ = t.find(it.key)
				}
			}
			if e == nil {
				continue
			}
			if !visit(e) {
				return
			}
			t.alive()
		}
		from = to
	}
}
