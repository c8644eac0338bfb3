package stack

import "github.com/seed-9a6c551e/offheap/internal/percpu"

// cacheSize is the most idle stacks that a processor's cache holds. It is small, because what these stacks
// have in RAM beyond Config.Retain is not given back at once.
const cacheSize = 8

// cache holds idle stacks of one processor (see percpu), which gets and puts them without a lock. The
// stack that was put last goes out first.
type cache struct {
	_ [percpu.Alone]byte
	percpu.Mutex
	n      uint32
	stacks [cacheSize]uint32
	_      [percpu.Alone]byte
}

func newCache() *cache { return new(cache) }

// push puts a stack in; false if the cache is full.
func (c *cache) push(i uint32) bool {
	n := c.n
	if n >= cacheSize {
		return false
	}
	c.stacks[n] = i
	c.n = n + 1
	return true
}

// pop takes the stack that was put last; false if there is none.
func (c *cache) pop() (i uint32, ok bool) {
	n := c.n - 1
	if n >= cacheSize {
		return 0, false
	}
	c.n = n
	return c.stacks[n], true
}

// exchange pushes a stack. If the cache is full, it moves the older half to out first, and returns the
// number of stacks there.
func (c *cache) exchange(i uint32, out *[cacheSize / 2]uint32) (n int) {
	if c.push(i) {
		return 0
	}
	n = copy(out[:], c.stacks[:])
	c.n = uint32(copy(c.stacks[:], c.stacks[n:]))
	c.push(i)
	return n
}

// fill pushes the last stacks of a list that nobody else changes, and returns how many: less than half a cache,
// and what there is room for.
func (c *cache) fill(from []uint32) (n int) {
	n = min(cacheSize/2-1, cacheSize-int(c.n), len(from))
	c.n += uint32(copy(c.stacks[c.n:], from[len(from)-n:]))
	return n
}

// drain moves the stacks of a cache to p.idle. No processor uses the cache. Caller holds p.mu.
func (p *Pool) drain(c *cache) {
	p.idle = append(p.idle, c.stacks[:c.n]...)
	c.n = 0
}
