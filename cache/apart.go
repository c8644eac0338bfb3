package cache

import "unsafe"

// apartObject is a key and a value that lie in an object of the heap of their own, because they would take more than a
// quarter of a segment. The entry in the log has only the object's number: so it is evicted in its turn, and moved without
// a copy of the value.
//
//	┌─────┬────────────────┐
//	│ key │ value          │
//	└─────┴────────────────┘
type apartObject struct {
	at   uintptr // from the heap's base on; it may lie before the base
	size int     // bytes
	key  uint32  // bytes
	pins uint32
	next uint32 // in a list: the number of the next, plus 1
	wait bool   // no entry has it yet
	dead bool   // no entry has it; its memory is there as long as it is pinned
}

// bytes returns the memory of an object.
func (s *shard) apartBytes(n uint32) []byte {
	o := &s.apart[n]
	return unsafe.Slice((*byte)(unsafe.Add(s.cache.base, o.at)), o.size)
}

// apartGranules returns the size of an object in granules.
func (s *shard) apartGranules(n uint32) int { return s.apart[n].size / granule }

func (s *shard) apartKey(n uint32) []byte   { return s.apartBytes(n)[:s.apart[n].key] }
func (s *shard) apartValue(n uint32) []byte { return s.apartBytes(n)[s.apart[n].key:] }

// addApart makes the object b of the heap, which begins with a key, an object of the shard, and returns its number.
// Caller holds s.mu.
func (s *shard) addApart(b []byte, key int) (number uint32) {
	if s.freeApart == 0 {
		s.apart = append(s.apart, apartObject{})
		number = uint32(len(s.apart) - 1)
	} else {
		number = s.freeApart - 1
		s.freeApart = s.apart[number].next
	}
	s.apart[number] = apartObject{at: s.cache.offsetOf(b), size: len(b), key: uint32(key), wait: true}
	s.counts.apart += len(b)
	s.cache.held.Add(int64(len(b)))
	return number
}

// dropApart is called when the entry of an object dies. Caller holds s.mu.
func (s *shard) dropApart(n uint32) {
	o := &s.apart[n]
	o.dead = true
	if o.pins == 0 {
		s.trashApart(n)
	}
}

// trashApart has the memory of an object go back to the heap. Caller holds s.mu.
func (s *shard) trashApart(n uint32) {
	s.apart[n].next = s.deadApart
	s.deadApart = n + 1
}

// takeApart takes an object out that is to go back to the heap; nil if there is none. Caller holds s.mu.
func (s *shard) takeApart() (b []byte) {
	if s.deadApart == 0 {
		return nil
	}
	n := s.deadApart - 1
	b = s.apartBytes(n)
	s.deadApart = s.apart[n].next
	s.counts.apart -= len(b)
	s.cache.held.Add(-int64(len(b)))
	s.apart[n] = apartObject{next: s.freeApart}
	s.freeApart = n + 1
	return b
}
