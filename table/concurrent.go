package table

import (
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Concurrent is a hash table for any number of goroutines, with keys and values that contain no Go pointers. NewConcurrent
// makes one in an arena; using the zero Concurrent, or nil, is a *guard.Violation (a nil *Concurrent in Get is Go's own
// panic). It must not be copied.
//
// Its calls are those of Map, without the ones that return pointers into the table: Update takes their place. What Map says of keys
// (equality, 0 and -0, NaN, hashes) holds.
//
//	          hash ──▶ shard ──▶ leaf ──▶ group ──▶ slot
//	Go heap   ┌─────────┬─────────┬─────────┬ ─ ─
//	          │ counter │ counter │ counter │         odd: the shard is locked
//	arena     ├─────────┼─────────┼─────────┼ ─ ─
//	          │ a table │ a table │ a table │         each as Map has it
//	          └─────────┴─────────┴─────────┴ ─ ─
//
// A Concurrent consists of shards: a power of two, 16 for each processor when it is made. Each shard is a table of its own, with a
// lock and a counter. A change locks the shard of its key and moves the counter. A search takes no lock and writes to no
// memory that goroutines share: it looks at the counter, searches, copies the value, and looks at the counter again. If the counter has moved, it
// searches again; after some tries it takes the lock.
//
// # Concurrency
//
//  1. Any goroutine may call any method at any time, from loops over All and from the function of Update, too.
//  2. A call that concerns one key takes effect at one moment, at which the others see all of it or nothing. A value is never torn.
//  3. Calls that concern many keys (Len, Clear, All, Keys, Values, Scan, Sample, GetBatch, Shrink) go from shard to shard or from key to key:
//     the table may change between one shard and the next.
//  4. No lock is held while code of the user runs: loops over All, Keys, Values, Scan and Sample, the function of Update,
//     Budget.OnSoft. They work on copies.
//  5. Searches do not wait for each other. They wait for changes of the same shard, and so do changes: fractions of a
//     microsecond, a few microseconds when a part of the shard grows, longer for Clear and Shrink.
//
// # Arena
//
// The arena is the table's alone: nobody may allocate from it while goroutines use the table, nor ask for its figures. Its Reset
// and Close, or a Rewind that frees memory of the table, end the table: every later call panics with a *guard.Violation. OnReset
// callbacks must not use it. No other goroutine may use the table while these calls run: they wait
// for changes, but a search that they overtake may fault.
//
// # Memory
//
// Each shard has at least one block: 4 KiB if entries have 16 bytes, 4 to 16 KiB for larger ones, or room for 15 entries if that is more. From some
// thousand entries a shard on a Concurrent takes 1.3 times the bytes of its entries, as a Map does.
//
// All blocks of a table are equally large, so a shard that cannot grow because the arena is full takes a block that another shard can spare. An insertion
// fails only if the arena is full and no shard can spare a block. One deletion frees a slot of its own shard alone: a program
// that evicts at this limit deletes some entries, calls TryPut, and goes on until that succeeds.
type Concurrent[K comparable, V any] struct {
	_      nocopy.NoCopy
	locks  []shardLock
	roots  unsafe.Pointer // of the first shard; the others follow, rootStride bytes apart
	seed   seed           // of all shards
	hasher hasher
	value  []part // of V: see Update
	shards []typed[K, V]
	supply *supply
	moving sync.Mutex    // of the goroutine that moves a block from one shard to another
	most   atomic.Uint64 // at least the entries of the largest shard: see Sample
}

// rootStride is how many bytes apart the roots of shards lie.
const rootStride = (unsafe.Sizeof(root{}) + 127) &^ 127

// The number of shards.
const (
	shardsPerProcessor = 16
	fewestShards       = 32
	mostShards         = 1024
)

// NewConcurrent makes an empty table in a, with room for hint entries: it does not grow before they are there (one table in a million grows
// earlier, since one of its shards gets more than its part). NewConcurrent panics with an error that wraps guard.ErrNoMemory if the arena is full, with an error if hint
// is negative, and with an error that names the field if K or V contains Go pointers.
func NewConcurrent[K comparable, V any](a *arena.Arena, hint int) *Concurrent[K, V] {
	return must(TryNewConcurrent[K, V](a, hint))
}

// TryNewConcurrent is NewConcurrent that returns its error: no memory, or a negative hint. If it fails, it takes nothing
// of the arena. It panics if K or V contains Go pointers.
func TryNewConcurrent[K comparable, V any](a *arena.Arena, hint int) (*Concurrent[K, V], error) {
	c := new(Concurrent[K, V])
	err := c.open(a, hint)
	if region.Reclaim() && err != nil {
		mustBeOpen(a, "NewConcurrent") // OnSoft may have closed it
		err = c.open(a, hint)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// open makes an empty table.
func (c *Concurrent[K, V]) open(a *arena.Arena, hint int) (err error) {
	const op = "NewConcurrent"
	mustBeOpen(a, op)
	var first typed[K, V]
	if err := first.prepare(a, op); err != nil {
		return err
	}
	if hint < 0 {
		return fmt.Errorf("table: %s: the hint %d is negative", op, hint)
	}
	n := min(max(shardsPerProcessor*runtime.GOMAXPROCS(0), fewestShards), mostShards)
	n = 1 << bits.Len(uint(n-1))
	mark := a.Mark()
	b, err := a.TryAlloc(n*int(rootStride), 2*blockUnit)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	s := &supply{arena: a, name: a.Name(), base: unsafe.Pointer(unsafe.SliceData(b)), end: c.end}
	s.cancel = a.OnReset(s.end)
	defer func() {
		if err != nil {
			s.cancel()
			if _, ending := a.Epoch(); !ending { // callbacks must not rewind
				a.Rewind(mark)
			}
		}
	}()
	c.roots, c.seed, c.hasher, c.supply = s.base, newSeed(), first.hasher, s
	c.value = partsOf(reflect.TypeFor[V]())
	c.locks, c.shards = make([]shardLock, n), make([]typed[K, V], n)
	each := uint64(hint) / uint64(n)
	each += uint64(6 * math.Sqrt(float64(each))) // six standard deviations
	if hint > 0 {
		each += 8
	}
	for i := range c.shards {
		t := &c.shards[i]
		t.root = c.rootOf(uint32(i))
		t.root.seed = c.seed
		t.find, t.findBehind, t.arena, t.slotSize, t.hasher, t.supply = first.find, first.findBehind, a, first.slotSize, first.hasher, s
		if err := t.openFor(each, hint); err != nil {
			return err
		}
	}
	return nil
}

// supply allocates the memory of all shards. It is called with one of them locked.
type supply struct {
	name   string     // of the arena
	mu     sync.Mutex // guards the following
	arena  *arena.Arena
	base   unsafe.Pointer // is in the arena
	cancel func()         // takes the last registration of end back

	end   func()
	ended atomic.Bool
}

// take takes zeroed bytes, aligned to a cache line. Budget.OnSoft is not called: see region.Reclaim.
func (s *supply) take(bytes int) (b []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ending := s.arena.Epoch(); ending {
		return nil, fmt.Errorf("%q: the arena is about to free the table: %w", s.name, guard.ErrNoMemory)
	}
	region.WithoutOnSoft(s.base, func() { b, err = s.arena.TryAlloc(bytes, blockUnit) })
	if err != nil {
		return nil, err
	}
	s.cancel() // the call that frees older memory of the table frees the newest, too
	s.cancel = s.arena.OnReset(s.end)
	return b, nil
}

// mustNotHaveEnded panics if the arena has freed the table.
func (s *supply) mustNotHaveEnded() {
	if s.ended.Load() {
		panic(&guard.Violation{Op: "table." + callOf("Concurrent"), Kind: guard.UseAfterReset, Detail: "the arena has freed the table, or was closed", Region: s.name})
	}
}

// end ends the table, before the arena frees its memory: it locks all shards and does not unlock them. So calls that come
// later find a locked shard, and need no other check.
func (c *Concurrent[K, V]) end() {
	if c.supply.ended.Swap(true) {
		return
	}
	for i := range c.locks {
		l := &c.locks[i]
		for tries := 0; ; tries++ {
			if _, ok := l.tryLock(); ok {
				break
			}
			pause(tries)
		}
	}
}

// mustBeMade panics if no NewConcurrent made the table, or the arena has ended it.
func (c *Concurrent[K, V]) mustBeMade() {
	if c == nil || c.locks == nil {
		panic(zeroUse("Concurrent"))
	}
	c.supply.mustNotHaveEnded()
}

// rootOf returns the root of a shard.
func (c *Concurrent[K, V]) rootOf(shard uint32) *root {
	return (*root)(unsafe.Add(c.roots, uintptr(shard)*rootStride))
}

// shardOf returns the shard of a hash. It is chosen by the lowest bits of the upper half, which choose nothing else: the place in a leaf
// depends on the highest. Bits of the lower half take part because the upper half of the hash of a key with a NaN has zeroes there.
func (c *Concurrent[K, V]) shardOf(hash uint64) uint32 {
	return (uint32(hash>>32) ^ uint32(hash)>>8) & uint32(len(c.locks)-1)
}

// hash hashes a key.
func (c *Concurrent[K, V]) hash(k *K) uint64 {
	if c.hasher.kind == byParts {
		return c.seed.parts(unsafe.Pointer(k), c.hasher.parts)
	}
	return c.seed.memory(unsafe.Pointer(k), unsafe.Sizeof(*k))
}

// Len returns the number of entries.
func (c *Concurrent[K, V]) Len() int {
	c.mustBeMade()
	n := uint64(0)
	for i := range c.shards {
		n += c.countOf(i)
	}
	return int(n)
}

const _ = -(unsafe.Offsetof(root{}.count) % 64) // does not compile unless count begins a cache line

// countOf returns the number of entries of a shard.
func (c *Concurrent[K, V]) countOf(shard int) uint64 {
	return atomic.LoadUint64(&c.rootOf(uint32(shard)).count)
}
