package arena

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Concurrent is an arena that any number of goroutines allocate from at once. OpenConcurrent makes one;
// using the zero Concurrent, or nil, is a *guard.Violation. It must not be copied.
//
// The functions of Arena have forms for it that end in In:
//
//	NewIn  MakeSliceIn  AppendIn  CloneIn  StringIn   allocate; each has a Try form
//	Alloc, TryAlloc                                   are methods, as those of Arena
//	RefIn  Ref.DerefIn  Ref.SliceIn                   make and follow references
//
//	        next ──────────────▶
//	┌──────┬──────┬──────┬──────┬─────────────────────────────
//	│ P0's │ P1's │ P0's │ large│     reserved
//	└──────┴──────┴──────┴──────┴─────────────────────────────
//
// Each processor allocates from a chunk of its own, so the fast path takes no lock and shares no cache line. A
// chunk has 256 KiB, or a 64th of Config.Limit if that is less, but at least 4 KiB. A new chunk is carved off
// at next. Objects of more than an eighth of a chunk are carved off alone. When a chunk has no room for the
// next object, its rest is lost until Reset.
//
// No other goroutine may use the arena while one calls Reset. Purge, Close and Stats may be called at any time.
// Calls that come after Close are a *guard.Violation, and a touch of the arena's memory faults then.
//
// Two goroutines that commit the same OS page at the same moment are both charged for it until one is done. So
// an allocation may be refused when less than an OS page is left of guard.Budget.Hard.
//
// A Concurrent has no marks, no OnReset callbacks and no Writer.
type Concurrent struct {
	_      nocopy.NoCopy
	base   unsafe.Pointer
	most   uintptr // bytes of the largest object that a chunk takes
	chunks percpu.Table[chunk]
	chunk  uintptr // bytes that a processor carves off at a time

	_       [128]byte // next is alone on its cache lines, because all processors write it
	next    atomic.Uintptr
	_       [128]byte
	ceiling uintptr
	high    atomic.Uintptr
	region  *region.Region
	config  Config
	round   uint // counts Resets. Not under mu, so that the race detector reports a Reset beside allocations

	// mu is held for reading while memory is carved off, cleared, or filled with a copy for which no chunk has
	// room; and for writing while memory goes back. No user code runs meanwhile: Budget.OnSoft is called after
	// it is released.
	mu     sync.RWMutex
	closed atomic.Bool // written under mu
	dirty  uintptr     // bytes below it were handed out before the last Reset
	recent uintptr     // bytes that recent rounds used, decaying, as Arena.recent
}

// chunkSize is how many bytes a processor carves off at a time, unless Limit is small. Committing them is one system
// call, touching them one fault for each OS page.
const chunkSize = 256 << 10

// alone tells whether an object is carved off alone: objects of more than an eighth of a chunk, so that less than
// that is lost when an object does not fit; objects aligned to more than 4 KiB; and objects of no size, which would
// fit into a chunk that does not exist.
func (k *Concurrent) alone(size, align uintptr) bool { return size-1 >= k.most || align > 4096 }

// OpenConcurrent reserves an arena for many goroutines. The error wraps guard.ErrNoMemory if there are no addresses
// or mappings left.
func OpenConcurrent(c Config) (*Concurrent, error) {
	r, c, err := reserveRegion(c, defaultReserve, region.Config{DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	k := &Concurrent{
		base: r.Base(), region: r, config: c, ceiling: ceiling(r, c),
		chunk: min(chunkSize, max(4096, uintptr(c.Limit)/64)),
	}
	k.most = k.chunk / 8
	k.next.Store(first)
	r.CountLive(k.count)
	return k, nil
}

// count tells the registry what is live.
func (k *Concurrent) count() (objects int, bytes int64, ok bool) {
	return 0, int64(k.next.Load() - first), true
}

// NewIn returns a zeroed T, as New does, from any goroutine.
//
// Cost: the pin, one addition, one comparison.
func NewIn[T any](k *Concurrent) *T { return must(TryNewIn[T](k)) }

// TryNewIn is NewIn that returns its error. It panics if T contains Go pointers.
func TryNewIn[T any](k *Concurrent) (*T, error) {
	mustBePointerFree((*T)(nil))
	p, err := k.take(unsafe.Sizeof(cell[T]{}), granule)
	return (*T)(p), err
}

// MakeSliceIn returns a slice of zeroed elements, as MakeSlice does, from any goroutine.
func MakeSliceIn[T any](k *Concurrent, length, capacity int) []T {
	return must(TryMakeSliceIn[T](k, length, capacity))
}

// TryMakeSliceIn is MakeSliceIn that returns its error. It panics if T contains Go pointers.
func TryMakeSliceIn[T any](k *Concurrent, length, capacity int) ([]T, error) {
	mustBePointerFree((*T)(nil))
	size, err := sliceSize[T](length, capacity)
	if err != nil {
		k.usable("MakeSliceIn")
		return nil, err
	}
	p, err := k.take(size, granule)
	return sliceAt[T](p, length, capacity), err
}

// Alloc returns size zeroed bytes aligned to align, as Arena.Alloc does, from any goroutine.
func (k *Concurrent) Alloc(size, align int) []byte { return must(k.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error.
func (k *Concurrent) TryAlloc(size, align int) ([]byte, error) {
	if !validAlloc(size, align) {
		return nil, k.invalidAlloc(size, align)
	}
	p, err := k.take(uintptr(size), max(uintptr(align), granule))
	return sliceAt[byte](p, size, size), err
}

// invalidAlloc returns the error for an invalid size or alignment. It panics if the arena must not be used.
//
//go:noinline
func (k *Concurrent) invalidAlloc(size, align int) error {
	k.usable("Alloc")
	return invalidAlloc(size, align)
}

// AppendIn appends values to s, as the built-in does, and returns the slice. s may lie anywhere. If it has no room it
// is copied to a larger place in the arena, and the old one stays unused until Reset: it never grows in place.
// Any goroutine may call AppendIn, but only one at a time for the same slice. It panics as NewIn does.
func AppendIn[T any](k *Concurrent, s []T, values ...T) []T {
	if len(values) <= cap(s)-len(s) {
		return append(s, values...)
	}
	return must(TryAppendIn(k, s, values...))
}

// TryAppendIn is AppendIn that returns its error, and then nil instead of the slice; s is unchanged. It panics if T
// contains Go pointers.
func TryAppendIn[T any](k *Concurrent, s []T, values ...T) ([]T, error) {
	if len(values) <= cap(s)-len(s) {
		return append(s, values...), nil
	}
	k.usable("AppendIn")
	n := len(s) + len(values)
	grown, err := TryMakeSliceIn[T](k, n, grownCapacity[T](n, cap(s), k.ceiling-min(k.next.Load(), k.ceiling)))
	if err != nil { // there may be room for n elements
		grown, err = TryMakeSliceIn[T](k, n, n)
	}
	if err != nil {
		return nil, err
	}
	k.mu.RLock() // Close must not take the memory away while it is written
	defer k.mu.RUnlock()
	k.usable("AppendIn")
	copy(grown, s)
	copy(grown[len(s):], values)
	return grown, nil
}

// CloneIn returns a copy of s in the arena, as Clone does, from any goroutine.
func CloneIn[T any](k *Concurrent, s []T) []T { return must(TryCloneIn(k, s)) }

// TryCloneIn is CloneIn that returns its error. It panics if T contains Go pointers.
func TryCloneIn[T any](k *Concurrent, s []T) ([]T, error) {
	mustBePointerFree((*T)(nil))
	bytes := uintptr(len(s)) * unsafe.Sizeof(*new(T))
	if bytes == 0 {
		k.usable("CloneIn")
		if s == nil {
			return nil, nil
		}
		return unsafe.Slice((*T)(k.base), len(s)), nil
	}
	copied, err := k.copyOf("CloneIn", unsafe.String((*byte)(unsafe.Pointer(unsafe.SliceData(s))), bytes))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.StringData(copied))), len(s)), nil
}

// StringIn returns a copy of s in the arena, as String does, from any goroutine.
func StringIn(k *Concurrent, s string) string { return must(k.copyOf("StringIn", s)) }

// TryStringIn is StringIn that returns its error.
func TryStringIn(k *Concurrent, s string) (string, error) { return k.copyOf("StringIn", s) }

// copyOf returns a copy of s in the arena, aligned to granule.
func (k *Concurrent) copyOf(op, s string) (string, error) {
	size := uintptr(len(s))
	if k != nil && !k.alone(size, 1) {
		c := percpu.Pin(&k.chunks)
		if c != nil {
			off := c.top
			if end := alignUp(off+size, granule); end <= c.limit {
				c.top = end
				c.copies++
				percpu.Unpin(c)
				// A fault of s goes on to the caller; Close must not wait for ever then.
				defer c.copied.Add(1)
				return copyString(unsafe.Add(k.base, off), s), nil
			}
		}
		percpu.Unpin(c)
	}
	return k.copySlowly(op, s)
}

// copySlowly is copyOf if the processor's chunk has no room.
//
//go:noinline
func (k *Concurrent) copySlowly(op, s string) (string, error) {
	if s == "" {
		k.usable(op)
		return "", nil
	}
	p, err := k.refill(uintptr(len(s)), granule, s)
	if err != nil {
		return "", err
	}
	return unsafe.String((*byte)(p), len(s)), nil
}

func copyString(to unsafe.Pointer, s string) string {
	p := (*byte)(to)
	copy(unsafe.Slice(p, len(s)), s)
	return unsafe.String(p, len(s))
}

// RefIn returns a Ref to p, an object in k, as RefOf does.
func RefIn[T any](k *Concurrent, p *T) Ref[T] {
	return Ref[T]{offsetIn(k, unsafe.Pointer(p), unsafe.Sizeof(*p), noOffsetIn)}
}

// offsetIn is offsetOf for a Concurrent.
func offsetIn(k *Concurrent, p unsafe.Pointer, size uintptr, noOffset func(k *Concurrent, p unsafe.Pointer) uint64) uint64 {
	off, top := uintptr(p)-uintptr(k.base), k.next.Load()
	if off-first > top-first || off+size > top {
		return noOffset(k, p)
	}
	return uint64(off)
}

func noOffsetIn(k *Concurrent, p unsafe.Pointer) uint64 {
	k.usable("RefIn")
	if p != nil {
		panic(inOtherMemory(k.violation("RefIn", guard.InvalidPointer, ""), k.base, p))
	}
	return 0
}

// DerefIn returns the object in k that r refers to, as Deref does.
func (r Ref[T]) DerefIn(k *Concurrent) *T {
	if k == nil {
		panic(k.unusable("DerefIn"))
	}
	if top := uint64(k.next.Load()); r.off-first > top-first || r.off+uint64(unsafe.Sizeof(*new(T))) > top {
		return (*T)(k.derefSlowly(r.off))
	}
	return (*T)(unsafe.Add(k.base, r.off))
}

// SliceIn returns the n objects in k from r on, as Slice does.
func (r Ref[T]) SliceIn(k *Concurrent, n int) []T {
	if r.off == 0 && n == 0 {
		return nil
	}
	if k == nil {
		panic(k.unusable("SliceIn"))
	}
	if !within[T](r.off, n, uint64(k.next.Load())) {
		k.usable("SliceIn")
		panic(notHandedOut(k.violation("SliceIn", guard.InvalidPointer, ""), r.off))
	}
	return unsafe.Slice((*T)(unsafe.Add(k.base, r.off)), n)
}

func (k *Concurrent) derefSlowly(off uint64) unsafe.Pointer {
	if off == 0 {
		return nil
	}
	k.usable("DerefIn")
	panic(notHandedOut(k.violation("DerefIn", guard.InvalidPointer, ""), off))
}

// take hands out size zeroed bytes. align is a power of two from granule to maxAlign.
func (k *Concurrent) take(size, align uintptr) (unsafe.Pointer, error) {
	if k != nil && !k.alone(size, align) {
		c := percpu.Pin(&k.chunks)
		if c != nil {
			off := alignUp(c.top, align)
			if end := alignUp(off+size, granule); end <= c.limit {
				c.top = end
				percpu.Unpin(c)
				return unsafe.Add(k.base, off), nil
			}
		}
		percpu.Unpin(c)
	}
	return k.refill(size, align, "")
}

// refill hands out memory if the processor's chunk has no room, and fills it with a copy of s. It calls
// Budget.OnSoft with no lock held, and then tries once more if there was no memory.
func (k *Concurrent) refill(size, align uintptr, s string) (unsafe.Pointer, error) {
	p, err := k.supply(size, align, s)
	if region.Reclaim() {
		if k.usable("New"); err != nil { // OnSoft may have closed the arena
			p, err = k.supply(size, align, s)
		}
	}
	return p, err
}

// supply carves off a new chunk for this processor and hands out memory from it, or carves off the object alone.
func (k *Concurrent) supply(size, align uintptr, s string) (unsafe.Pointer, error) {
	k.usable("New")
	round := k.round
	k.mu.RLock()
	defer k.mu.RUnlock() // a fault of s, which is the user's, must not leave it locked
	k.usable("New")
	if k.alone(size, align) || k.chunks.HereNew(newChunk) == nil {
		return k.carveAlone(size, align, s)
	}
	off, limit, err := k.carve(k.chunk, size, max(align, 64))
	if err != nil { // there may be room for the object alone
		return k.carveAlone(size, align, s)
	}
	rest := alignUp(off+size, granule)
	c := percpu.Pin(&k.chunks)
	// Another goroutine may have given this processor a chunk meanwhile, or this goroutine may have moved to
	// another processor. The chunk with more room stays.
	if c != nil && limit-rest > c.limit-c.top && round == k.round {
		c.top, c.limit = rest, limit
	}
	percpu.Unpin(c)
	copyString(unsafe.Add(k.base, off), s)
	return unsafe.Add(k.base, off), nil
}

// carveAlone carves off an object and fills it with a copy of s. Caller holds k.mu for reading.
func (k *Concurrent) carveAlone(size, align uintptr, s string) (unsafe.Pointer, error) {
	off, _, err := k.carve(size, size, align)
	if err != nil {
		return nil, err
	}
	copyString(unsafe.Add(k.base, off), s)
	return unsafe.Add(k.base, off), nil
}

// carve takes the next want bytes, or only least if there are no more, commits them and clears them. Caller holds
// k.mu for reading.
func (k *Concurrent) carve(want, least, align uintptr) (off, end uintptr, err error) {
	for {
		from := k.next.Load()
		off = alignUp(from, align)
		if least > k.ceiling || off > k.ceiling-least {
			return 0, 0, k.config.full(least, from)
		}
		end = alignUp(off+min(want, k.ceiling-off), granule)
		if !k.next.CompareAndSwap(from, end) {
			continue
		}
		if err = k.makeReady(off, end); err == nil {
			return off, end, nil
		}
		// The addresses go back if no goroutine took more. Otherwise they are lost until Reset.
		k.next.CompareAndSwap(end, from)
		return 0, 0, fmt.Errorf("arena: %w", err)
	}
}

// makeReady commits [off, end) and clears the part that was used before the last Reset.
func (k *Concurrent) makeReady(off, end uintptr) error {
	if err := k.commit(off, end); err != nil {
		return err
	}
	if off < k.dirty {
		clear(unsafe.Slice((*byte)(unsafe.Add(k.base, off)), min(end, k.dirty)-off))
	}
	return nil
}

// commit makes [off, end) usable. Two goroutines that commit the same OS page are both charged for it until the
// second one finds it committed. A lock would make all others wait for the kernel.
func (k *Concurrent) commit(off, end uintptr) error {
	unit := k.config.unit()
	lo, hi := off&^(unit-1), min(alignUp(end, unit), uintptr(k.region.Size()))
	return k.region.Commit(int(lo), int(hi-lo))
}

// usable panics if the arena must not be used.
func (k *Concurrent) usable(op string) {
	if k == nil || k.region == nil || k.closed.Load() {
		panic(k.unusable(op))
	}
}

// unusable returns the violation of using an arena that is not open.
//
//go:noinline
func (k *Concurrent) unusable(op string) *guard.Violation {
	if k == nil || k.region == nil {
		return zeroValue("Concurrent."+op, "arena.OpenConcurrent makes a Concurrent")
	}
	return k.violation(op, guard.UseAfterClose, "")
}

func (k *Concurrent) violation(op string, kind guard.Kind, detail string) *guard.Violation {
	return &guard.Violation{Op: "arena.Concurrent." + op, Kind: kind, Detail: detail, Region: k.config.Name}
}

// Reset frees everything that was handed out. Memory that recent rounds did not need goes back to the system, as with
// Arena.Reset. No other goroutine may use the arena meanwhile, except for Purge, Close and Stats.
func (k *Concurrent) Reset() {
	k.usable("Reset")
	k.round++
	for c := range k.chunks.All() {
		c.top, c.limit = 0, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	used := k.restart()
	k.recent = max(used, k.recent-k.recent/8)
	keep := max(uintptr(k.config.Retain), k.recent)
	if uintptr(k.region.Committed()) > 2*keep {
		_ = k.shrink(keep) // memory that the kernel does not take is cleared when it is used
	}
}

// restart frees everything, and returns how many bytes were in use. Caller holds k.mu.
func (k *Concurrent) restart() (used uintptr) {
	used = k.next.Load()
	k.high.Store(max(k.high.Load(), used))
	k.dirty = max(k.dirty, used)
	k.next.Store(first)
	return used
}

// Purge gives back to the system all memory that was not carved off, except for the rest of the last OS page
// (with HugePages, of the last 2 MiB). After Reset that is all memory. Any goroutine may call it at any time;
// goroutines that need a new chunk wait meanwhile. An error comes from the kernel; the arena then keeps its
// memory.
func (k *Concurrent) Purge() error {
	k.usable("Purge")
	k.mu.Lock()
	defer k.mu.Unlock()
	k.usable("Purge")
	if err := k.shrink(0); err != nil {
		return fmt.Errorf("arena: purge: %w", err)
	}
	return nil
}

// shrink decommits all memory above the first keep bytes that was not carved off. Caller holds k.mu.
func (k *Concurrent) shrink(keep uintptr) error {
	if top := k.next.Load(); top > first {
		keep = max(keep, top)
	}
	size := uintptr(k.region.Size())
	keep = min(alignUp(keep, k.config.unit()), size)
	if err := k.region.Decommit(int(keep), int(size-keep)); err != nil {
		return err
	}
	k.dirty = min(k.dirty, keep)
	return nil
}

// Close gives all memory and addresses back. Other goroutines may allocate meanwhile: they get memory until the
// arena is closed, and a *guard.Violation afterwards. A touch of the arena's memory faults after Close. A
// second Close returns an error that wraps guard.ErrClosed. Any other error comes from the kernel: then Close
// may be called again.
//
// Cost: it stops the world for some microseconds, to take the processors' chunks.
func (k *Concurrent) Close() error {
	if k == nil || k.region == nil {
		panic(k.unusable("Close"))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed.Load() {
		return fmt.Errorf("arena: close %q: %w", k.config.Name, guard.ErrClosed)
	}
	k.closed.Store(true)
	percpu.Drain((*chunk).drain, &k.chunks) // and k.mu keeps new ones away
	if err := k.region.Close(); err != nil {
		k.closed.Store(false)
		return fmt.Errorf("arena: close: %w", err)
	}
	k.restart()
	return nil
}

// Stats returns the figures of the arena; Live counts whole chunks. After Close all figures are zero but HighWater.
// Those of the zero Concurrent are zero. Any goroutine may call it at any time.
func (k *Concurrent) Stats() Stats {
	if k == nil || k.region == nil {
		return Stats{}
	}
	s := regionStats(k.region)
	top := k.next.Load()
	s.Live = int64(top - first)
	s.HighWater = int64(max(k.high.Load(), top) - first)
	return s
}

// Resident is Arena.Resident. Any goroutine may call it.
func (k *Concurrent) Resident() (int64, error) {
	if k == nil || k.region == nil {
		return 0, nil
	}
	return regionResident(k.region)
}
