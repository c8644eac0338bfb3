package table

import "unsafe"

// batchSize is how many keys GetBatch searches at a time: enough to overlap all cache misses that a processor has at
// a time.
const batchSize = 32

// GetBatch searches for all keys. It sets values[i] to the value of keys[i], or to zero if the key is not there, and
// found[i] to whether it is; found may be nil. It returns how many keys are there. If values, or a found that is not
// nil, is shorter than keys, that is Go's own panic, and nothing has been set. What lies behind len(keys) is left as
// it is.
//
// It overlaps the cache misses of 32 searches, so it is faster than as many calls of Get in a map that is larger than the
// processor's caches. It allocates nothing.
func (m *Map[K, V]) GetBatch(keys []K, values []V, found []bool) (hits int) {
	m.mustBeMade()
	m.usable()
	return inBatches(keys, values, found, m.getBatch)
}

// inBatches calls search for batchSize keys at a time, and returns how many are there. It panics as Go does if values, or a found that is
// not nil, is shorter than keys, even if its capacity is not.
func inBatches[K, V any](keys []K, values []V, found []bool, search func(keys []K, values []V, found []bool) (hits int)) (hits int) {
	if n := len(keys); n > 0 {
		_ = values[n-1]
		if found != nil {
			_ = found[n-1]
		}
	}
	for len(keys) > 0 {
		n, f := min(len(keys), batchSize), min(len(found), batchSize)
		hits += search(keys[:n], values[:n], found[:f])
		keys, values, found = keys[n:], values[n:], found[f:]
	}
	return hits
}

// getBatch searches at most batchSize keys. The second loop and the fourth one touch the memory that the next one needs, without
// waiting for it. They are short, so that the processor has as many cache misses under way as it can.
func (m *Map[K, V]) getBatch(keys []K, values []V, found []bool) (hits int) {
	type search struct {
		group
		hash  uint64
		slots slotSet        // with the key's tag
		first unsafe.Pointer // the first of them, or the header
	}
	var all [batchSize]search
	searches := all[:len(keys)]
	r := m.root
	size := unsafe.Sizeof(slot[K, V]{})
	inline := unsafe.Sizeof(*new(K)) == 8 && m.hasher.kind == byBytes
	for i := range searches {
		s := &searches[i]
		if inline {
			s.hash = r.seed.word(load8(unsafe.Pointer(&keys[i]), 0))
		} else {
			s.hash = m.hash(unsafe.Pointer(&keys[i]), unsafe.Sizeof(keys[i]))
		}
		l := r.leafOf(s.hash)
		s.group = r.group(l, homeOf(s.hash, l.groups), size)
	}
	touched := byte(0)
	for i := range searches {
		s := &searches[i]
		touched |= byte(s.header[0])
		if size <= smallSlot {
			touched |= *s.quarter(quarterOf(s.hash), size)
		}
	}
	for i := range searches {
		s := &searches[i]
		even, odd := s.words()
		s.slots = matching(even, odd, tagOf(s.hash)*lowBits)
		if s.first = unsafe.Pointer(s.header); s.slots != 0 {
			s.first = s.at(s.slots.first(), size)
		}
	}
	for i := range searches {
		touched |= *(*byte)(searches[i].first)
	}
	sink(touched)
	for i := range keys {
		s := &searches[i]
		var e *slot[K, V]
		for set := s.slots; set != 0 && e == nil; set &= set - 1 {
			if c := slotAt[K, V](s.group, set.first()); c.key == keys[i] {
				e = c
			}
		}
		if e == nil && passes(s.header[1], s.hash) {
			if p, ok := m.locate(s.hash, keys[i]); ok {
				e = slotAt[K, V](p.g, p.slot)
			}
		}
		if e != nil {
			values[i] = e.value
			hits++
		} else {
			clear(values[i : i+1])
		}
		if found != nil {
			found[i] = e != nil
		}
	}
	return hits
}

// sink keeps the compiler from leaving out loads whose results nobody needs.
//
//go:noinline
func sink(byte) {}
