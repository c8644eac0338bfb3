package cache

// evicted is an entry that OnEvict is to be called for. If it lay in the log it is a copy on the Go heap: to pin it would keep
// its segment, while a Set that OnEvict calls needs the memory. If it lies apart it is pinned.
type evicted struct {
	copied []byte // key and value
	key    int    // bytes
	held   pin
}

// evictedAt keeps an entry for OnEvict. Caller holds s.mu.
func (s *shard) evictedAt(p place, e entry) evicted {
	if e.isApart() {
		return evicted{held: s.pin(p, e)}
	}
	key, value := e.key(), e.value()
	copied := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	return evicted{copied: copied, key: len(key)}
}

// callOnEvict calls OnEvict for the entries that were evicted so far, unless another goroutine does, or this one further up:
// then they wait for the call after that. Caller has entered, and holds no lock.
func (s *shard) callOnEvict() {
	s.mu.Lock()
	if len(s.evicted) == 0 || s.calling > 0 && len(s.evicted) < mostEvicted || s.calling == mostCalling {
		s.mu.Unlock()
		return
	}
	batch := s.evicted
	s.evicted = nil
	s.calling++
	s.mu.Unlock()
	defer s.endOnEvict(batch)
	for i := range batch {
		if v := &batch[i]; v.copied != nil {
			s.cache.config.OnEvict(v.copied[:v.key:v.key], v.copied[v.key:])
		} else {
			s.cache.config.OnEvict(s.pinned(v.held))
		}
	}
}

// endOnEvict is the end of callOnEvict, also after a panic.
func (s *shard) endOnEvict(batch []evicted) {
	s.mu.Lock()
	s.calling--
	last := false
	for i := range batch {
		if batch[i].copied == nil {
			last = s.unpin(batch[i].held) || last
		}
	}
	s.mu.Unlock()
	if last {
		_ = s.cache.leave()
	}
}

const (
	// mostEvicted is how many entries wait for OnEvict, while another goroutine calls it or this one further up, before a
	// second call is made beside.
	mostEvicted = 256

	// mostCalling bounds the calls of OnEvict at a time in a shard: so Sets in OnEvict that evict are nested no deeper.
	mostCalling = 4
)
