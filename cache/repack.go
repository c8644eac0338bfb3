package cache

// Objects apart have size classes: when most objects of a class have gone, the others may keep many slabs of the heap from becoming free.
// repack copies such objects, and the heap puts the copies into slabs that have others of their class already:
//
//	before   ┌───┬───┬───┬───┐ ┌───┬───┬───┬───┐ ┌───┬───┬───┬───┐
//	         │ a │   │   │   │ │   │ b │   │   │ │   │   │   │ c │
//	         └───┴───┴───┴───┘ └───┴───┴───┴───┘ └───┴───┴───┴───┘
//	after    ┌───┬───┬───┬───┐
//	         │ a │ b │ c │   │   free               free
//	         └───┴───┴───┴───┘
//
// The log needs none of it: all its segments have one size.

const (
	repackShare  = 8  // repack works if more than the 8th part of the Limit is free in slabs that have objects
	repackAtOnce = 16 // objects, at most, that it moves
	repackBytes  = 256 << 10
)

// repack moves some objects apart of a shard, if the heap has much memory in slabs that are partly free. Caller has entered, and holds no lock.
func (c *Cache) repack(s *shard) {
	if c.heap.Stats().Free < int64(c.config.Limit/repackShare) {
		return
	}
	for n, bytes := 0, 0; n < repackAtOnce && bytes < repackBytes; n++ {
		moved := s.moveApart()
		if moved == 0 {
			return
		}
		bytes += moved
	}
}

// moveApart moves the shard's next object apart to other memory, and returns its size; 0 if there is none, or no memory.
func (s *shard) moveApart() (size int) {
	s.mu.Lock()
	n, ok := s.nextApart()
	if !ok || s.closed {
		s.mu.Unlock()
		return 0
	}
	old := s.apartBytes(n)
	s.apart[n].pins++ // so it stays as it is. The caller keeps the heap open
	s.mu.Unlock()
	b, err := s.cache.heap.TryAllocDirty(len(old), granule)
	if err == nil {
		copy(b, old)
	}
	s.mu.Lock()
	o := &s.apart[n]
	o.pins--
	switch {
	case o.dead && o.pins == 0:
		s.trashApart(n)
	case err == nil && !o.dead && o.pins == 0:
		o.at = s.cache.offsetOf(b)
		b, size = old, len(old)
	}
	s.mu.Unlock()
	if err == nil {
		s.cache.heap.Free(b)
	}
	return size
}

// nextApart returns the number of the next object that may move. Caller holds s.mu.
func (s *shard) nextApart() (n uint32, ok bool) {
	for range s.apart {
		if s.repackHand++; int(s.repackHand) >= len(s.apart) {
			s.repackHand = 0
		}
		if o := &s.apart[s.repackHand]; o.size > 0 && o.size < leastRegion && !o.dead && !o.wait && o.pins == 0 {
			return s.repackHand, true
		}
	}
	return 0, false
}

// leastRegion is the size of objects that share no slab: the heap gives each a region of its own.
const leastRegion = 512 << 10
