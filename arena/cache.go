package arena

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// chunk is the per-processor cache of a Concurrent: the processor allocates from [top, limit), whose
// bytes are zero. It is alone on its cache lines.
type chunk struct {
	chunkState
	_ [percpu.Alone - unsafe.Sizeof(chunkState{})]byte
}

type chunkState struct {
	top, limit uintptr
	copies     uintptr        // calls of StringIn that began here; those from copied on are not done
	copied     atomic.Uintptr // calls of StringIn that are done
	percpu.Mutex
}

func newChunk() *chunk { return new(chunk) }

// retire waits until nobody copies a string into a chunk that no processor uses.
func (c *chunk) retire() {
	for c.copied.Load() != c.copies {
		runtime.Gosched()
	}
}

// cache is the per-processor cache of a Pool: one idle arena. Any goroutine may take it, so goroutines are
// pinned only to find the cache, and emptying the caches stops no world. It is alone on its cache lines.
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
