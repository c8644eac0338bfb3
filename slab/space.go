package slab

import (
	"fmt"
	"math/bits"
	"sync"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// The heap's region is divided into units of 64 KiB. A slab is one or several in a row.
const (
	unitBits = 16
	unit     = 1 << unitBits // bytes

	most = 64 << 30 >> (shrink32 * 8) // bytes of a heap's region: so that the number of a granule has 32 bits
)

// space hands out units. Each is in a slab, free, or free and cold.
//
//	       ┌──────┬──────┬──────┬──────┬──────┬──────┬─ ─ ─
//	units  │ slab │ free │ slab . slab │ cold │ free │ cold…
//	       └──────┴──────┴──────┴──────┴──────┴──────┴─ ─ ─
//
// A free unit is committed, and may have old contents unless it is clean. A cold one is not
// committed. Low addresses go first, so that what is not needed gathers at high ones and is given
// back after a while.
type space struct {
	mu     sync.Mutex
	region *guard.Region
	free   bitmap
	clean  bitmap // of those that are free: never used since they were committed
	cold   bitmap
	freed  []uint32 // when each free unit became free, in ticks
	hint   int      // no unit below is free or cold
	used   int      // units in slabs
	guards int      // units behind each slab that are kept from others and never committed
}

func (s *space) open(region *guard.Region, hardened bool) {
	n := region.Size() / unit
	s.region = region
	if hardened {
		s.guards = 1
	}
	s.free, s.clean, s.cold = newBitmap(n), newBitmap(n), newBitmap(n)
	s.cold.set(0, n)
	s.freed = make([]uint32, n)
}

// take returns n units in a row, committed. clean tells whether they read zero.
func (s *space) take(n int) (first int, clean bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guards > 0 {
		return s.takeGuarded(n)
	}
	first = s.free.find(s.hint, n)
	if first < 0 {
		if first, err = s.warm(n); err != nil {
			return 0, false, err
		}
	}
	clean = s.clean.all(first, n)
	s.free.clear(first, n)
	s.clean.clear(first, n)
	if first == s.hint {
		s.hint += n
	}
	s.used += n
	return first, clean, nil
}

// takeGuarded is take that leaves a guard behind the slab.
func (s *space) takeGuarded(n int) (first int, clean bool, err error) {
	first = s.cold.find(s.hint, n+s.guards)
	if first < 0 {
		return 0, false, s.full(n + s.guards)
	}
	if err := s.region.Commit(first*unit, n*unit); err != nil {
		return 0, false, err
	}
	s.cold.clear(first, n+s.guards)
	if first == s.hint {
		s.hint += n + s.guards
	}
	s.used += n
	return first, true, nil
}

// warm commits the first n units in a row that are free or cold, and some that follow if they are
// cold: the more the larger the heap is, for fewer system calls.
func (s *space) warm(n int) (first int, err error) {
	first = findEither(s.free, s.cold, s.hint, n)
	if first < 0 {
		return 0, s.full(n)
	}
	more := n
	for ahead := min(max(s.used/8, 1), 64); more < n+ahead && first+more < s.cold.n && s.cold.has(first+more); {
		more++
	}
	if err = s.commit(first, more); err != nil && more > n {
		err = s.commit(first, n)
	}
	return first, err
}

func (s *space) commit(first, n int) error {
	if err := s.region.Commit(first*unit, n*unit); err != nil {
		return err
	}
	now := ticks()
	for i := first; i < first+n; i++ {
		if s.cold.has(i) {
			s.cold.clear(i, 1)
			s.free.set(i, 1)
			s.clean.set(i, 1)
			s.freed[i] = now
		}
	}
	return nil
}

// give takes units back.
func (s *space) give(first, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hint = min(s.hint, first)
	s.used -= n
	if s.guards > 0 && s.region.Decommit(first*unit, n*unit) == nil {
		s.cold.set(first, n+s.guards)
		return
	}
	now := ticks()
	s.free.set(first, n)
	for i := first; i < first+n; i++ {
		s.freed[i] = now
	}
}

// cool decommits what has been free for some ticks.
func (s *space) cool(age uint32) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := ticks()
	for i := s.free.find(s.hint, 1); i >= 0; i = s.free.find(i, 1) {
		n := 0
		for i+n < s.free.n && s.free.has(i+n) && now-s.freed[i+n] >= age {
			n++
		}
		if n == 0 {
			i++
			continue
		}
		if e := s.region.Decommit(i*unit, n*unit); e != nil {
			err = e // it stays free; what the kernel took of it is zero or not, so it is not clean
			s.clean.clear(i, n)
		} else {
			s.free.clear(i, n)
			s.clean.clear(i, n)
			s.cold.set(i, n+s.guards)
		}
		i += n
	}
	return err
}

// ticks is a clock of milliseconds that wraps after 49 days. Tests have their own.
var ticks = func() uint32 { return uint32(time.Since(start).Milliseconds()) }

var start = time.Now()

// table is an array outside the Go heap whose memory is committed as it is reached.
type table struct {
	base   unsafe.Pointer
	region *guard.Region
	off    int // in the region
	ready  int // bytes committed, from off on
}

// reach makes the first n bytes usable.
func (t *table) reach(n int) error {
	if n <= t.ready {
		return nil
	}
	step := max(64<<10, t.ready/8)
	to := alignUp(max(n, t.ready+step), guard.PageSize())
	if err := t.region.Commit(t.off+t.ready, to-t.ready); err != nil {
		to = alignUp(n, guard.PageSize())
		if err := t.region.Commit(t.off+t.ready, to-t.ready); err != nil {
			return err
		}
	}
	t.ready = to
	return nil
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }

// bitmap is a set of numbers below n.
type bitmap struct {
	words []uint64
	n     int
}

func newBitmap(n int) bitmap { return bitmap{make([]uint64, (n+63)/64), n} }

func (b bitmap) has(i int) bool { return b.words[i/64]>>(i%64)&1 != 0 }

func (b bitmap) set(first, n int) {
	for i := first; i < first+n; i++ {
		b.words[i/64] |= 1 << (i % 64)
	}
}

func (b bitmap) clear(first, n int) {
	for i := first; i < first+n; i++ {
		b.words[i/64] &^= 1 << (i % 64)
	}
}

func (b bitmap) all(first, n int) bool {
	for i := first; i < first+n; i++ {
		if !b.has(i) {
			return false
		}
	}
	return true
}

// find returns the first of n members in a row, from a number on; -1 if there are none.
func (b bitmap) find(from, n int) int { return findEither(b, b, from, n) }

// findEither is find in the union of two sets of one size.
func findEither(a, b bitmap, from, n int) int {
	for from+n <= a.n {
		w := (a.words[from/64] | b.words[from/64]) >> (from % 64)
		if w == 0 {
			from = (from/64 + 1) * 64
			continue
		}
		from += bits.TrailingZeros64(w)
		run := 1
		for run < n && from+run < a.n && (a.has(from+run) || b.has(from+run)) {
			run++
		}
		if run == n && from+n <= a.n {
			return from
		}
		from += run
	}
	return -1
}

// full is the error for units that are not there.
func (s *space) full(n int) error {
	return fmt.Errorf("%q: %d bytes more exceed its Reserve of %d: %w", s.region.Name(), n*unit, s.region.Size(), guard.ErrNoMemory)
}
