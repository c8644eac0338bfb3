package sampled

import (
	"bytes"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/filler"
)

// Alloc allocates an object for an owner, by its name: size bytes, at most MostSize, which read zero, aligned to align, a
// power of two up to MostSize. ok is false where no slot is free, or there is no memory.
func Alloc(owner uintptr, name string, size, align int) (p unsafe.Pointer, ok bool) {
	s, err := open()
	if err != nil {
		return nil, false
	}
	i, ok := s.take()
	if !ok {
		return nil, false
	}
	stack := s.here()
	x := &s.all[i]
	at, ok := place(uintptr(i)*stride+s.base, size, align)
	if !ok || s.commit(x, at, size) != nil {
		s.give(i)
		return nil, false
	}
	p = unsafe.Add(s.region.Base(), at-s.base)
	before, behind := s.around(x, p, size)
	canary.Fill(before)
	canary.Fill(behind)

	s.mu.Lock()
	defer s.mu.Unlock()
	x.live, x.owner, x.name, x.p, x.size, x.allocated, x.freed = true, owner, name, p, size, stack, ""
	x.generation = (x.generation + 1) & MostGeneration
	x.watch.SetReport(x.report())
	return p, true
}

// place returns where an object goes in the slot at an address. ok is false if it does not fit.
func place(slot uintptr, size, align int) (at uintptr, ok bool) {
	lo := slot + aside
	hi := lo + MostSize
	mask := uintptr(align - 1)
	left, right := (lo+mask)&^mask, (hi-uintptr(size))&^mask
	if coin() || right < left {
		return left, left+uintptr(size) <= hi
	}
	return right, true
}

// take returns the slot that has not been live for the longest time. ok is false if there is none, or too many are live.
func (s *slots) take() (i uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 || len(s.all)-s.n >= mostLive {
		return 0, false
	}
	i = s.queue[s.next]
	s.next = (s.next + 1) % len(s.queue)
	s.n--
	return i, true
}

// give puts a slot at the end of the queue.
func (s *slots) give(i uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue[(s.next+s.n)%len(s.queue)] = i
	s.n++
}

// Free frees the owner's object that starts at p. ok is false if there is none. If the canary was written to, overrun is true,
// at is the offset from the start of the object, and the object stays.
func Free(owner uintptr, p unsafe.Pointer) (at int, overrun, ok bool) {
	s := opened.Load()
	if s == nil || !Holds(p) {
		return 0, false, false
	}
	return s.free(owner, p, s.here(), true)
}

// Close frees all objects of an owner, overrun or not.
func Close(owner uintptr) {
	s := opened.Load()
	if s == nil {
		return
	}
	stack := s.here()
	for p := range Objects(owner) {
		s.free(owner, p, stack, false)
	}
}

func (s *slots) free(owner uintptr, p unsafe.Pointer, stack string, checked bool) (at int, overrun, ok bool) {
	i, at, overrun, ok := s.end(owner, p, stack, checked)
	if !ok || overrun {
		return at, overrun, ok
	}
	s.hide(i)
	s.give(i)
	return 0, false, true
}

// end marks the object at p as freed. It compares the canary if checked.
func (s *slots) end(owner uintptr, p unsafe.Pointer, stack string, checked bool) (i uint32, at int, overrun, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok = s.find(owner, p); !ok {
		return 0, 0, false, false
	}
	x := &s.all[i]
	if checked {
		before, behind := s.around(x, p, x.size)
		if at := canary.First(before); at >= 0 {
			return i, at - len(before), true, true
		}
		if at := canary.First(behind); at >= 0 {
			return i, x.size + at, true, true
		}
	}
	x.live, x.freed = false, stack
	x.watch.SetReport(x.report())
	return i, 0, false, true
}

// canary is the pattern beside an object on its OS pages.
var canary = filler.Pattern(bytes.Repeat([]byte{0xB9}, filler.Size))
