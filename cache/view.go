package cache

// pin keeps the bytes of an entry in their place and as they are, whatever becomes of the entry.
type pin struct {
	place place
	apart uint32 // the number, plus 1, of the object apart; 0 for none
}

// pin pins an entry. Caller holds s.mu.
func (s *shard) pin(p place, e entry) (held pin) {
	held.place = p
	s.cache.segments.of(p).pins++
	if e.isApart() {
		n := e.number()
		s.apart[n].pins++
		held.apart = n + 1
	}
	s.pins++
	if s.pins == 1 {
		s.cache.users.Add(1) // the shard is not closed, so neither is the cache
	}
	return held
}

// unpin undoes pin. The last unpin of a segment that has left its queue makes it free. Caller holds s.mu, and calls
// unpinned when it does not any more.
func (s *shard) unpin(held pin) (last bool) {
	t := &s.cache.segments
	n := held.place >> t.shift
	seg := t.at(n)
	if seg.pins--; seg.pins == 0 && seg.doomed {
		s.discard(n)
	}
	if held.apart != 0 {
		if o := &s.apart[held.apart-1]; true {
			if o.pins--; o.pins == 0 && o.dead {
				s.trashApart(held.apart - 1)
			}
		}
	}
	s.pins--
	return s.pins == 0
}

// release unpins an entry. Caller does not hold s.mu.
func (s *shard) release(held pin) {
	s.mu.Lock()
	last := s.unpin(held)
	s.unlock()
	if last {
		_ = s.cache.leave()
	}
}

// pinned returns the bytes of a pinned entry. Anybody may call it.
func (s *shard) pinned(held pin) (key, value []byte) {
	if held.apart != 0 {
		s.mu.Lock() // s.apart may move
		b, n := s.apartBytes(held.apart-1), s.apart[held.apart-1].key
		s.mu.Unlock()
		return b[:n:n], b[n:len(b):len(b)]
	}
	e := s.cache.at(held.place)
	key, value = e.key(), e.value()
	return key[:len(key):len(key)], value[:len(value):len(value)]
}

// View calls f with the value of key, without a copy, and tells whether key is there. If it is not, f is not called.
//
// The value is valid, and does not change, until f returns: whatever others do, Delete, Reset and Close included. f must
// not write to it. No lock is held while f runs: f may call the cache, for the same key too, may take its time, and may
// panic. As long as it runs, up to 64 KiB of memory around the entry are kept.
//
// Cost: as a Get, without the copy; the lock is taken twice.
func (c *Cache) View(key []byte, f func(value []byte)) bool {
	s, l, ok := c.lockAndFind("View", key)
	if !ok {
		s.misses++
		s.unlock()
		return false
	}
	s.hits++
	s.hit(l.place, l.entry)
	held := s.pin(l.place, l.entry)
	s.mu.Unlock()
	defer s.release(held)
	_, value := s.pinned(held)
	f(value)
	return true
}
