package stack

import (
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// cacheSize is the most idle stacks that a processor keeps to itself. What these have in RAM beyond
// Config.Retain is not given back at once, so they are few.
const cacheSize = 8

// cache is the per-processor cache: its processor gets stacks from it and puts them to it without a
// lock; the last in is the first out.
type cache struct {
	_ [percpu.Alone]byte
	percpu.Mutex
	n      uint32
	stacks [cacheSize]uint32
	_      [percpu.Alone]byte
}

func newCache() *cache { return new(cache) }

// push puts a stack in, if there is room.
func (c *cache) push(i uint32) bool {
	n := c.n
	if n >= cacheSize {
		return false
	}
	c.stacks[n] = i
	c.n = n + 1
	return true
}

// pop takes the stack out that was put in last; false if there is none.
func (c *cache) pop() (i uint32, ok bool) {
	n := c.n - 1
	if n >= cacheSize {
		return 0, false
	}
	c.n = n
	return c.stacks[n], true
}

// exchange pushes a stack. If there is no room it moves the older half out first, and returns how
// many that are.
func (c *cache) exchange(i uint32, out *[cacheSize / 2]uint32) (n int) {
	if c.push(i) {
		return 0
	}
	n = copy(out[:], c.stacks[:])
	c.n = uint32(copy(c.stacks[:], c.stacks[n:]))
	c.push(i)
	return n
}

// anyCached tells whether there are idle stacks in per-processor caches.
func (p *Pool) anyCached() bool {
	n := uint32(0)
	for c := range p.caches.All() {
		c.Lock()
		n += atomic.LoadUint32(&c.n)
		c.Unlock()
	}
	return n > 0
}

// takeCached moves the stacks of a cache that no processor uses to p.idle. Caller holds p.mu.
func (p *Pool) takeCached(c *cache) {
	p.idle = append(p.idle, c.stacks[:c.n]...)
	c.n = 0
}
