package arena

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// chunk is where one processor (see percpu) allocates for a Concurrent: the bytes of [top, limit) are zero.
// It is alone on its cache lines.
type chunk struct {
	chunkState
	_ [percpu.Alone - unsafe.Sizeof(chunkState{})]byte
}

type chunkState struct {
	top, limit uintptr
	copies     uintptr        // how many copies (StringIn, CloneIn) found room here
	copied     atomic.Uintptr // how many of them are complete
	percpu.Mutex
}

func newChunk() *chunk { return new(chunk) }

// drain waits until the copies that found room in the chunk are complete. No processor uses the chunk.
func (c *chunk) drain() {
	for c.copied.Load() != c.copies {
		runtime.Gosched()
	}
}

// cache holds an idle arena of a Pool for one processor (see percpu). Any goroutine may take the arena: so
// Get and Put are pinned only to find the cache, and emptying all caches does not stop the world. It is
// alone on its cache lines.
type cache struct {
	cacheState
	_ [percpu.Alone - unsafe.Sizeof(cacheState{})]byte
}

type cacheState struct {
	idle atomic.Pointer[Arena]
	percpu.Mutex
}

func newCache() *cache { return new(cache) }

// poolClosed is in the caches of a closed pool, so that a late Put does not leave its arena there.
var poolClosed Arena

// take empties the cache; nil if there was nothing to take.
func (c *cache) take() *Arena {
	a := c.idle.Load()
	if a == nil || a == &poolClosed || !c.idle.CompareAndSwap(a, nil) {
		return nil
	}
	return a
}

// put keeps an arena in the cache; false if there is one, or the pool is closed.
func (c *cache) put(a *Arena) bool { return c.idle.CompareAndSwap(nil, a) }

// close empties the cache for good.
func (c *cache) close() *Arena {
	if a := c.idle.Swap(&poolClosed); a != &poolClosed {
		return a
	}
	return nil
}

// holds tells whether there is an arena in the cache.
func (c *cache) holds() bool {
	a := c.idle.Load()
	return a != nil && a != &poolClosed
}
