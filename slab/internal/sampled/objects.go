package sampled

import (
	"iter"
	"unsafe"
)

// Owner returns the owner of the live, or else the last, object in the slot that contains p; 0 if there was none.
func Owner(p unsafe.Pointer) uintptr {
	s := opened.Load()
	if s == nil {
		return 0
	}
	i, ok := s.at(uintptr(p))
	if !ok {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[i].owner
}

// Size returns the size of the owner's object that starts at p; ok is false if there is none.
func Size(owner uintptr, p unsafe.Pointer) (size int, ok bool) {
	s := opened.Load()
	if s == nil || !Holds(p) {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(owner, p)
	if !ok {
		return 0, false
	}
	return s.all[i].size, true
}

// Live returns the number of objects of an owner, their bytes, and the bytes committed for them.
func Live(owner uintptr) (objects, bytes, committed int) {
	s := opened.Load()
	if s == nil {
		return 0, 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.all {
		if x := &s.all[i]; x.live && x.owner == owner {
			objects++
			bytes += x.size
			committed += x.to - x.from
		}
	}
	return objects, bytes, committed
}

// Objects iterates over the objects of an owner. The loop may free them and allocate others.
func Objects(owner uintptr) iter.Seq[unsafe.Pointer] {
	return func(yield func(unsafe.Pointer) bool) {
		s := opened.Load()
		if s == nil {
			return
		}
		for i := range s.all {
			x := &s.all[i]
			s.mu.Lock()
			p, ok := x.p, x.live && x.owner == owner
			s.mu.Unlock()
			if ok && !yield(p) {
				return
			}
		}
	}
}

// Name returns the slot and the generation of the owner's object that starts at p. No other object gets the same two until the slot
// has had MostGeneration objects. ok is false if there is no object.
func Name(owner uintptr, p unsafe.Pointer) (slot, generation uint32, ok bool) {
	s := opened.Load()
	if s == nil || !Holds(p) {
		return 0, 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok = s.find(owner, p); !ok {
		return 0, 0, false
	}
	return slot, s.all[slot].generation, true
}

// Named returns the object of an owner to which Name gave these two; ok is false if it is freed.
func Named(owner uintptr, slot, generation uint32) (p unsafe.Pointer, ok bool) {
	s := opened.Load()
	if s == nil || slot >= uint32(len(s.all)) {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.all[slot]
	return x.p, x.live && x.owner == owner && x.generation == generation
}
