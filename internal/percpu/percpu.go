// Package percpu keeps a cache for each processor (a P of the Go scheduler), so that an allocator's
// fast path takes no lock and shares no cache line with other processors.
//
//	Table          0        1        2                       Max
//	           ┌────────┬────────┬────────┬─ ─ ─ ─┬────────┬────────┐
//	           │   ●    │  nil   │   ●    │       │        │  nil   │ ◀── every processor beyond
//	           └───┼────┴────────┴───┼────┴─ ─ ─ ─┴────────┴────────┘
//	               ▼                 ▼
//	           ┌───────┐         ┌───────┐
//	           │ cache │         │ cache │     the T of the allocator
//	           └───────┘         └───────┘
//
// # Life of a cache
//
//  1. Pin keeps the goroutine on its processor and returns the processor's cache: nil if there is
//     none yet. Unpin ends the pinned section.
//  2. PinNew makes the cache first where there is none. So a processor that comes later
//     (runtime.GOMAXPROCS) gets a cache when an allocator first needs one there.
//  3. Drain takes all caches out of the table, waits until no pinned section uses one, and hands each
//     to the allocator. The next PinNew on a processor makes another cache.
//  4. A processor that goes away leaves its cache in the table. Drain reaches the cache, All shows it,
//     and the processor uses it again if it comes back.
//  5. Close is a last Drain: no processor gets a cache any more, and Pin returns nil for ever.
//
// # Concurrency
//
//  1. Between Pin and Unpin the code must not allocate, block, panic, fault, touch user memory or call
//     user code: the scheduler cannot run on this processor meanwhile, and a panic there ends the
//     program. Short calls that are not inlined may grow the stack, which the runtime allows (sync.Pool
//     does it, too); fast paths have none. Pinned sections do not nest.
//  2. Only the goroutine that is pinned, or in a leaf, uses its processor's cache, so plain loads and
//     stores will do. Another goroutine that is pinned to the processor later sees them: the scheduler
//     orders the two.
//  3. A pinned section that found its cache before Drain took it is over when Drain calls visit, which
//     sees all that was stored there. One that begins later does not find the cache.
//  4. Slots or memory that other goroutines return while Drain runs may go into new caches, which this
//     Drain does not see. After Close there are none.
//  5. All visits caches that are in use. What it reads of them is a moment's figure, and must be atomic
//     or hidden from the race detector.
//  6. HereNew does not keep the goroutine on the processor, and a cache may be used after Unpin if it is
//     made for any number of goroutines at once, out of atomics. Drain does not wait for those.
//
// The race detector knows nothing of pins. In builds for it (-race) a pinned section holds the lock of
// its cache instead, and the goroutine may move: so the detector sees that two goroutines take turns
// on one cache, and still reports two that use different caches for the same data.
//
// # Leaves
//
// A leaf is a function that reaches its processor's cache without a pin. It looks like this:
//
//	//go:nosplit
//	//go:noinline
//	//go:nocheckptr
//	func count(t *percpu.Table[cache], n int) bool {
//		processor, ok := percpu.Processor()
//		if !ok {
//			return false // the caller pins
//		}
//		c := t.At(processor)
//		if c == nil {
//			return false // the caller pins, and makes the cache
//		}
//		c.n += n
//		return true
//	}
//
// A leaf is a pinned section, for these reasons and under these conditions:
//
//  1. Processor asks the runtime which thread the goroutine is on (runtime.getm). The thread's record,
//     the m, points to the description of its processor, the p, which begins with the processor's number.
//  2. Nobody else runs on the processor until the leaf returns. A goroutine leaves its processor only
//     where it blocks, where a function that it calls looks at its start whether it should, or where a
//     signal interrupts it. A leaf does not block. It calls nothing but getm, and that first. And no signal
//     takes a goroutine out of a nosplit function: the compiler marks all its instructions as unsafe
//     points, where the runtime does not interrupt.
//  3. Nobody stops the world before the leaf returns: so Drain and Close wait for it.
//  4. A leaf must not do what a pinned section must not do, and it calls nothing but Processor and At.
//     Calls are also: an index that the compiler cannot prove, append, the store of a Go pointer, an atomic method.
//     A helper must be nosplit, too, for builds that do not inline it.
//  5. This is an invariant of the compiler (IsUnsafe in cmd/compile/internal/liveness), and no promise of
//     Go's. So a test reads the machine code of each leaf: leaftest.Check.
//  6. When the program starts, init looks whether the p is where it should be: the pointer must lead to
//     the number that the pin tells, and from there back to the m. If not, Processor is never ok.
//  7. Nor is it ok where nobody has tried it: with Go 1.28 and newer, and on systems and architectures
//     that leaf.go does not name. Nor where calls are put into all functions: in builds with -race, -msan
//     and -asan, and while go test -fuzz runs. Nor in builds with -gcflags=all=-l, where helpers are calls: a
//     goroutine can be interrupted at the start of a function, before its frame is made. (A build in which some
//     packages of the module are inlined and others are not is not noticed.) Nor with the build tag offheap_pin,
//     which is for tests. All goes by the pin then.
//  8. noinline keeps a leaf from becoming part of a function that is not nosplit. nocheckptr keeps calls
//     out of it in builds with -gcflags=-d=checkptr.
//
// A cache for each thread would need no p, and an allocator was 3 % faster with it. But the number of threads
// has no bound, and so what their caches keep would have none.
//
// # Cost
//
// Pin and Unpin are inlined and take 1.5 to 3.5 ns together: 15 instructions, of which two write to the
// same word of the m, one after the other. (Pin costs 76 of the inliner's 80, so nothing can be added to it.)
// Processor and At are inlined and take 11 instructions, which write nothing: in a function that counts in
// the cache, 3.5 ns where Pin and Unpin take 4.9. No branch is taken on the way: so Processor returns ok, too.
// One function that returned nil for a cache in all cases would take a cycle more, since the compiler lets its
// results meet before the leaf looks at them.
//
// The table has a fixed length of 8 KiB, because one that grows would cost a dependent load. Drain and
// Close stop the world for some microseconds, unless there are no caches.
//
// # What it does not do
//
// It does not bound what a cache holds, nor empty caches that nobody uses: each allocator decides when
// to drain. Processors from Max on have no cache: they share what all goroutines share.
package percpu

import (
	"iter"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Max is how many processors can have a cache.
const Max = 1024

// Alone is the bytes that keep apart what different processors write: a cache line, and the one that
// the hardware fetches with it.
const Alone = 128

// Table has one cache for each processor that needed one. The zero Table is ready for use. It must not
// be copied.
type Table[T any] struct {
	caches [Max + 1]atomic.Pointer[T] // the last is nil for ever
	mu     sync.Mutex                 // held where a cache is added
	closed bool                       // written under mu
}

// Lockable is a *T that embeds Mutex.
type Lockable[T any] interface {
	*T
	sync.Locker
}

// of returns where the cache of a processor is. For processors from Max on nothing is there.
func (t *Table[T]) of(processor int) *atomic.Pointer[T] { return &t.caches[min(uint(processor), Max)] }

// At returns the cache of a processor below Max: nil if there is none. It is for leaves and calls nothing, not
// even where nothing is inlined.
//
//go:nosplit
//go:nocheckptr
func (t *Table[T]) At(processor uint32) *T {
	// The table begins with its caches. A plain load will do: what a cache holds is loaded through the pointer,
	// so it cannot be older.
	return *(**T)(unsafe.Add(unsafe.Pointer(t), uintptr(processor)*unsafe.Sizeof(t)))
}

// HereNew returns the cache of the processor that the goroutine is on. Where there is none it makes one
// with newCache, which must not use the table. It returns nil on a processor from Max on, and after
// Close.
func (t *Table[T]) HereNew(newCache func() *T) *T {
	processor := procPin()
	procUnpin()
	at := t.of(processor)
	if c := at.Load(); c != nil || at == &t.caches[Max] {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := at.Load()
	if c == nil && !t.closed {
		c = newCache()
		at.Store(c)
	}
	return c
}

// PinNew pins the goroutine as Pin does, and makes the cache first with newCache where there is none.
// It returns nil on a processor from Max on, after Close, and if the goroutine has moved meanwhile to
// another processor that has no cache. Unpin must follow in each case.
func PinNew[T any, P Lockable[T]](t *Table[T], newCache func() *T) *T {
	c := Pin[T, P](t)
	if c != nil {
		return c
	}
	Unpin[T, P](c)
	t.HereNew(newCache)
	return Pin[T, P](t)
}

// All iterates over the caches, in the order of their processors, while goroutines use them.
func (t *Table[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range t.caches {
			if c := t.caches[i].Load(); c != nil && !yield(c) {
				return
			}
		}
	}
}

// Drain takes all caches out of the tables and calls visit for each, when no pinned section uses a cache
// of any of these tables. In builds for the race detector visit is called with the cache's lock held. Any
// goroutine may call Drain that is not pinned. Of two Drains at the same time each visits some of the
// caches, and neither returns before all their pinned sections are over.
//
// Cost: Drain stops the world for some microseconds, once for all tables, unless all are empty.
func Drain[T any, P Lockable[T]](visit func(*T), tables ...*Table[T]) {
	for _, c := range take[T, P](tables) {
		visitLocked[T, P](visit, c)
	}
}

// draining is held from when caches are taken until nobody uses them: else another Drain would find
// the tables empty and not wait.
var draining sync.Mutex

// take takes all caches out of the tables, and waits until no pinned section uses one.
func take[T any, P Lockable[T]](tables []*Table[T]) (taken []*T) {
	draining.Lock()
	defer draining.Unlock()
	for _, t := range tables {
		for i := range t.caches {
			if t.caches[i].Load() == nil { // Swap alone would take each cache line away from other processors
				continue
			}
			if c := t.caches[i].Swap(nil); c != nil { // else Borrow has it
				taken = append(taken, c)
			}
		}
	}
	if len(taken) > 0 {
		// A goroutine may have loaded the pointer to its cache just before. It is pinned as long as it
		// uses the cache, and the world does not stop before it is unpinned.
		Wait()
	}
	for _, c := range taken {
		visitLocked[T, P](func(*T) {}, c) // where there is no pin, this waits instead
	}
	return taken
}

func visitLocked[T any, P Lockable[T]](visit func(*T), c *T) {
	P(c).Lock()
	defer P(c).Unlock()
	visit(c)
}

// Close keeps processors from getting caches of the tables any more, and drains the tables.
func Close[T any, P Lockable[T]](visit func(*T), tables ...*Table[T]) {
	for _, t := range tables {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
	}
	Drain[T, P](visit, tables...)
}

// Set replaces the cache of a processor and returns the one that was there. Tests use it to play other
// processors: nobody may use the table meanwhile.
func (t *Table[T]) Set(processor int, c *T) (old *T) { return t.caches[:Max][processor].Swap(c) }
