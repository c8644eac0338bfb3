package cache

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
)

// enter keeps the heap open until leave; false if the cache is closed. Whoever calls the heap, or holds memory of it
// without a shard's lock, is between the two.
func (c *Cache) enter() bool {
	for {
		n := c.users.Load()
		if n == 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends the use of the heap that enter began. The last one to leave a closed cache closes the heap.
func (c *Cache) leave() error {
	if c.users.Add(-1) == 0 {
		return c.heap.Close()
	}
	return nil
}

// alloc allocates an object of the heap that lies behind the base: a sampled one does not, and is tried again.
func (c *Cache) alloc(size int) (off uintptr, err error) {
	var sampled [][]byte
	defer func() {
		for _, b := range sampled {
			c.heap.Free(b)
		}
	}()
	for {
		b, err := c.heap.TryAllocDirty(size, granule)
		if err != nil {
			return 0, err
		}
		off = c.offsetOf(b)
		if off < uintptr(c.reserve) && off%uintptr(size) == 0 {
			return off, nil
		}
		sampled = append(sampled, b)
	}
}

// offsetOf returns where memory of the heap lies behind the base; a large or sampled object may lie before it.
func (c *Cache) offsetOf(b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(c.base)
}

// free gives an object of the heap back.
func (c *Cache) free(off uintptr, size int) {
	c.heap.Free(unsafe.Slice((*byte)(unsafe.Add(c.base, off)), size))
}

// give gives a shard what it needs.
func (s *shard) give(what need, off uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cache
	switch {
	case what == needsSegment:
		n := uint32(off / uintptr(c.segmentSize))
		c.segments.add(n)
		if s.closed {
			return // the heap is being closed
		}
		s.spares.push(&c.segments, n)
		s.segments++
		c.held.Add(int64(c.segmentSize))
	case what == needsGhosts && !s.closed:
		s.policy.ghosts.addChunk(c.base, uint32(off/granule))
	case !s.closed:
		s.chunks = append(s.chunks, uint32(off/granule))
		s.index.Add(off, chunkSize)
	}
}

// sizeOfNeed returns the size in bytes of the memory that a shard needs.
func (c *Cache) sizeOfNeed(what need) int {
	if what == needsSegment {
		return c.segmentSize
	}
	return chunkSize
}

// provideFor gets for a shard what a call lacked. Caller holds no lock, and tries again what it did.
func (c *Cache) provideFor(s *shard, what need, op string) error {
	if !c.enter() {
		return c.errClosed(op)
	}
	defer c.leave()
	switch err := c.provide(s, what); {
	case err != nil && what == needsGhosts:
		s.doWithoutGhosts()
	case err != nil:
		return fmt.Errorf("cache: %s: %w", op, err)
	}
	return nil
}

// provide gets for a shard what it needs: from the heap or, at the limit, by evicting entries. Caller has entered, and holds
// no lock.
func (c *Cache) provide(s *shard, what need) error {
	var at uintptr
	err := c.makeRoom(s, func() (done bool, err error) {
		if what == needsSegment && s.hasSpare() {
			return true, nil
		}
		if at, err = c.alloc(c.sizeOfNeed(what)); err == nil {
			s.give(what, at)
		}
		return err == nil, err
	})
	return err
}

// doWithoutGhosts is called when there is no memory for more ghosts: it is asked for again when there are twice as many entries.
func (s *shard) doWithoutGhosts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy.ghosts.enough = 2 * s.index.Len()
}

func (s *shard) hasSpare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasSpareToFill()
}

// makeRoom calls try until that finds memory. In between it gives back what is free, and evicts entries if the cache has a
// Limit: of the shard, or of shards that have more than their share. It returns the error of try when there was nothing more
// to evict some times in a row: other goroutines may have taken what it freed, or have entries pinned. Caller has entered, and holds no lock.
func (c *Cache) makeRoom(s *shard, try func() (done bool, err error)) error {
	inVain := 0
	for round := 1; ; round++ {
		done, err := try()
		if done || !errors.Is(err, guard.ErrNoMemory) || inVain == mostInVain || c.closed.Load() {
			return err
		}
		if round == 1 && c.config.Limit > 0 {
			c.repack(s)
		}
		switch {
		case c.emptyTrash():
		case c.config.Limit > 0 && c.evictSegment(s):
			if round%purgeEvery == 0 {
				_ = c.heap.Purge() // for freed slots that processors cache; try has the error that counts
			}
		default:
			if inVain++; inVain > 1 {
				time.Sleep(time.Duration(inVain) * 10 * time.Microsecond) // 5 ms in all
			}
			c.dropSpares()
			c.emptyTrash()
			_ = c.heap.Purge()
		}
	}
}

// segmentsUntilTry is how many segments a shard fills, after the heap has refused memory, with what it evicts ahead of need. Then it asks the
// heap again: sizes have shifted, or entries were deleted.
const segmentsUntilTry = 128

// mostInVain is how often makeRoom finds nothing to evict before it gives up.
const mostInVain = 32

// purgeEvery is the number of segments that are evicted in vain before the heap is asked to collect what it has.
const purgeEvery = 16

// dropSpares makes all spare segments trash.
func (c *Cache) dropSpares() {
	c.eachOpen(func(s *shard) {
		for {
			n, ok := s.spares.pop(&c.segments)
			if !ok {
				return
			}
			s.trash.push(&c.segments, n)
		}
	})
}

// evictSegment evicts entries until a segment becomes free, of a shard or of one that has more than its share; false if
// there is no entry at all.
func (c *Cache) evictSegment(s *shard) bool {
	share := int(c.held.Load()) / len(c.shards)
	if s.evictUntilFree(share) {
		return true
	}
	from := int(c.victim.Add(1))
	for _, least := range []int{share, 0} {
		for i := range c.shards {
			if c.shards[(from+i)%len(c.shards)].evictUntilFree(least) {
				return true
			}
		}
	}
	return false
}

// evictUntilFree evicts entries until a segment or an object apart becomes free, if the shard has some number of bytes; false if
// it has not, or no entries.
func (s *shard) evictUntilFree(least int) (freed bool) {
	for {
		s.mu.Lock()
		if s.closed || s.segments*s.cache.segmentSize+s.counts.apart < least {
			s.mu.Unlock()
			return false
		}
		s.full, s.untilTry = true, segmentsUntilTry
		had := s.spares.n + s.trash.n
		looked := 1
		for n := 0; n < 32 && looked > 0 && !freed; n++ {
			looked = s.evictNext()
			freed = s.spares.n+s.trash.n > had || s.deadApart != 0
		}
		s.unlock()
		if freed || looked == 0 {
			return freed
		}
	}
}

// emptyTrash gives all free memory of all shards back to the heap. It tells whether there was some.
func (c *Cache) emptyTrash() (some bool) {
	for i := range c.shards {
		for c.shards[i].emptyTrash(1 << 30) {
			some = true
		}
	}
	return some
}

// emptyTrash gives some free memory back to the heap, n objects at most; false if there was none. Caller has entered, and
// holds no lock.
func (s *shard) emptyTrash(n int) (some bool) {
	c := s.cache
	for ; n > 0; n-- {
		s.mu.Lock()
		number, isSegment := s.trash.pop(&c.segments)
		var chunk uint32
		var apart []byte
		isChunk := false
		if isSegment {
			s.segments--
		} else if isChunk = len(s.scrap) > 0; isChunk {
			chunk = s.scrap[len(s.scrap)-1]
			s.scrap = s.scrap[:len(s.scrap)-1]
		} else {
			apart = s.takeApart()
		}
		s.mu.Unlock()
		switch {
		case isSegment:
			c.held.Add(-int64(c.segmentSize))
			c.free(uintptr(number)*uintptr(c.segmentSize), c.segmentSize)
		case isChunk:
			c.free(uintptr(chunk)*granule, chunkSize)
		case apart != nil:
			c.heap.Free(apart)
		default:
			return some
		}
		some = true
	}
	return some
}

// trashPerCall is how many objects a call gives back to the heap, so that the memory of a Reset goes back in steps.
const trashPerCall = 4

// unlock unlocks the shard and then does what must not be done under the lock, if there is something to do.
func (s *shard) unlock() {
	s.checked()
	chores := s.hasChores()
	s.mu.Unlock()
	if chores {
		s.chores()
	}
}

// hasChores tells whether there is something to do that must not be done under the lock. Caller holds s.mu.
func (s *shard) hasChores() bool {
	return s.trash.n > 0 || s.deadApart != 0 || len(s.scrap) > 0 || len(s.evicted) > 0
}

// chores calls OnEvict for entries that were evicted, and gives some free memory back. Caller holds no lock.
func (s *shard) chores() {
	if !s.cache.enter() {
		return
	}
	defer s.cache.leave()
	s.callOnEvict()
	s.emptyTrash(trashPerCall)
}

// errTooLarge returns the error for a key or a value that can never be set.
func (c *Cache) errTooLarge(op, what string, n, most int) error {
	return fmt.Errorf("cache: %s %q: %s of %d bytes, the most is %d: %w", op, c.config.Name, what, n, most, ErrTooLarge)
}
