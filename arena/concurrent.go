package arena

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// Concurrent is an arena that any number of goroutines allocate from at once. NewIn, MakeSliceIn,
// StringIn, Alloc and their Try forms allocate, RefIn and Ref.DerefIn make and follow references.
//
//	        next ──────────────▶
//	┌──────┬──────┬──────┬──────┬─────────────────────────────
//	│ P0's │ P1's │ P0's │ large│     reserved
//	└──────┴──────┴──────┴──────┴─────────────────────────────
//
// Each processor has a chunk of its own to move its bump pointer through, so the fast path takes
// no lock and shares no cache line. A new chunk is carved off by moving next; large
// objects are carved off alone. What is left of a chunk when it is replaced is lost until Reset.
//
// Reset and Close take memory away from everybody: call them when no other goroutine uses the
// arena. Within an OS page of the budget's hard limit an allocation may be refused for the moment
// in which another goroutine commits the same page.
type Concurrent struct {
	base   unsafe.Pointer
	chunks []chunk // one for each processor, and an empty one at the end for those beyond
	chunk  uintptr // bytes that a processor carves off at a time

	_       [128]byte // next is written by all, and alone
	next    atomic.Uintptr
	_       [128]byte
	dirty   uintptr // bytes below it were handed out before the last Reset. Written by Reset only
	ceiling uintptr
	high    atomic.Uintptr
	region  *guard.Region
	config  Config
	closed  bool
}

// chunk is where a processor allocates: the bytes of [top, limit) are zero. It is alone on
// its cache lines.
type chunk struct {
	top, limit uintptr
	//lint:ignore U1000 builds for the race detector use it
	lock procpin.Lock
	_    [128 - 2*unsafe.Sizeof(uintptr(0)) - unsafe.Sizeof(procpin.Lock{})]byte
}

// chunkSize is what a processor carves off at a time, unless Limit is small: committing
// it is one system call, touching it is one fault for each of its OS pages.
const chunkSize = 256 << 10

// alone tells whether an object is carved off alone: one of more than an eighth of a chunk, so that
// less than that is lost when the next object does not fit; one aligned to more than 4 KiB; and one
// of no size, which would fit into a chunk that is not there.
func (k *Concurrent) alone(size, align uintptr) bool { return size-1 >= k.chunk/8 || align > 4096 }

// OpenConcurrent reserves an arena for many goroutines. Config.Retain is not used: Reset keeps
// what is committed.
func OpenConcurrent(c Config) (*Concurrent, error) {
	region, c, err := mapRegion(c, defaultReserve, nil)
	if err != nil {
		return nil, err
	}
	k := &Concurrent{
		base: region.Base(), chunks: make([]chunk, processors()+1), region: region, config: c,
		ceiling: ceiling(region, c),
		chunk:   min(chunkSize, max(4096, uintptr(c.Limit)/64)),
	}
	k.next.Store(first)
	region.CountLive(k.count)
	return k, nil
}

// count is for the registry.
func (k *Concurrent) count() (objects int, bytes int64, ok bool) {
	return 0, int64(k.next.Load() - first), true
}

// NewIn returns a zeroed T, as New does, from any goroutine.
func NewIn[T any](k *Concurrent) *T { return must(TryNewIn[T](k)) }

// TryNewIn is NewIn that returns its error. It panics if T contains pointers.
func TryNewIn[T any](k *Concurrent) (*T, error) {
	mustBePointerFree((*T)(nil))
	p, err := k.take(unsafe.Sizeof(cell[T]{}), granule)
	return (*T)(p), err
}

// MakeSliceIn returns a slice of zeroed elements, as MakeSlice does, from any goroutine.
func MakeSliceIn[T any](k *Concurrent, length, capacity int) []T {
	return must(TryMakeSliceIn[T](k, length, capacity))
}

// TryMakeSliceIn is MakeSliceIn that returns its error. It panics if T contains pointers.
func TryMakeSliceIn[T any](k *Concurrent, length, capacity int) ([]T, error) {
	mustBePointerFree((*T)(nil))
	size, err := sliceSize[T](length, capacity)
	if err != nil {
		return nil, err
	}
	p, err := k.take(size, granule)
	return sliceAt[T](p, length, capacity), err
}

// Alloc returns size zeroed bytes aligned to align, as Arena.Alloc does, from any goroutine.
func (k *Concurrent) Alloc(size, align int) []byte { return must(k.TryAlloc(size, align)) }

// TryAlloc is Alloc that returns its error.
func (k *Concurrent) TryAlloc(size, align int) ([]byte, error) {
	if err := checkAlloc(size, align); err != nil {
		return nil, err
	}
	p, err := k.take(uintptr(size), max(uintptr(align), granule))
	return sliceAt[byte](p, size, size), err
}

// StringIn returns a copy of s that lives in the arena, as String does, from any goroutine.
func StringIn(k *Concurrent, s string) string {
	if s == "" {
		return ""
	}
	p := (*byte)(must(k.take(uintptr(len(s)), granule)))
	copy(unsafe.Slice(p, len(s)), s)
	return unsafe.String(p, len(s))
}

// RefIn returns a Ref to p, which must lie in k, as RefOf does.
func RefIn[T any](k *Concurrent, p *T) Ref[T] {
	return Ref[T]{offsetOf(k.base, k.next.Load(), unsafe.Pointer(p), unsafe.Sizeof(*p), "RefIn", k.config.Name)}
}

// DerefIn returns the object that r refers to in k, as Deref does.
func (r Ref[T]) DerefIn(k *Concurrent) *T {
	if top := uint64(k.next.Load()); r.off-first > top-first || uint64(unsafe.Sizeof(*new(T))) > top-r.off {
		if r.off == 0 {
			return nil
		}
		k.usable("DerefIn")
		panic(beyond(k.violation("DerefIn", ""), r.off))
	}
	return (*T)(unsafe.Add(k.base, r.off))
}

// take hands out size zeroed bytes. align is a power of two from granule to maxAlign.
//
// Cost: the pin, one addition, one comparison.
func (k *Concurrent) take(size, align uintptr) (unsafe.Pointer, error) {
	if !k.alone(size, align) {
		c := k.enter()
		off := alignUp(c.top, align)
		if end := alignUp(off+size, granule); end <= c.limit {
			c.top = end
			k.leave(c)
			return unsafe.Add(k.base, off), nil
		}
		k.leave(c)
	}
	return k.refill(size, align)
}

// refill carves off a new chunk for this processor and serves the request from
// it, or carves off just the object.
func (k *Concurrent) refill(size, align uintptr) (unsafe.Pointer, error) {
	k.usable("New")
	if k.alone(size, align) || k.beyond() {
		off, _, err := k.carve(size, size, align)
		if err != nil {
			return nil, err
		}
		return unsafe.Add(k.base, off), nil
	}
	off, limit, err := k.carve(k.chunk, size, max(align, 64))
	if err != nil { // there may be room for the object yet
		if off, _, err = k.carve(size, size, align); err != nil {
			return nil, err
		}
		return unsafe.Add(k.base, off), nil
	}
	rest := alignUp(off+size, granule)
	c := k.enter()
	// Another goroutine may have refilled this processor meanwhile, and this one may have moved to
	// another: the chunk with more in it stays.
	if c != k.empty() && limit-rest > c.limit-c.top {
		c.top, c.limit = rest, limit
	}
	k.leave(c)
	return unsafe.Add(k.base, off), nil
}

// empty is the chunk of processors that were added after OpenConcurrent. Nothing is ever put into
// it, because they would share it without a lock.
func (k *Concurrent) empty() *chunk { return &k.chunks[len(k.chunks)-1] }

func (k *Concurrent) beyond() bool {
	c := k.enter()
	k.leave(c)
	return c == k.empty()
}

// carve takes the next want bytes, or only least where no more are left, commits them and makes
// them zero.
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
		if err = k.ready(off, end); err == nil {
			return off, end, nil
		}
		// Addresses go back if nobody took more; else they are lost until Reset.
		k.next.CompareAndSwap(end, from)
		return 0, 0, fmt.Errorf("arena: %w", err)
	}
}

// ready commits [off, end) and clears what was used before the last Reset.
func (k *Concurrent) ready(off, end uintptr) error {
	if err := k.commit(off, end); err != nil {
		return err
	}
	if off < k.dirty {
		clear(unsafe.Slice((*byte)(unsafe.Add(k.base, off)), min(end, k.dirty)-off))
	}
	return nil
}

// commit makes [off, end) usable. Two that share an OS page are both charged for it until the second
// finds it committed. A lock would avoid that, and be held while Budget.OnSoft runs.
func (k *Concurrent) commit(off, end uintptr) error {
	unit := k.config.unit()
	lo, hi := off&^(unit-1), min(alignUp(end, unit), uintptr(k.region.Size()))
	return k.region.Commit(int(lo), int(hi-lo))
}

func (k *Concurrent) usable(op string) {
	if k.closed {
		panic(k.violation(op, "use after Close"))
	}
}

func (k *Concurrent) violation(op, what string) *guard.Violation {
	return &guard.Violation{Op: "arena.Concurrent." + op, What: what, Region: k.config.Name}
}

// Reset frees everything that was handed out. No other goroutine may use the arena meanwhile.
func (k *Concurrent) Reset() {
	k.usable("Reset")
	k.restart()
}

func (k *Concurrent) restart() {
	top := k.next.Load()
	k.high.Store(max(k.high.Load(), top))
	k.dirty = max(k.dirty, top)
	for i := range k.chunks {
		k.chunks[i].top, k.chunks[i].limit = 0, 0
	}
	k.next.Store(first)
}

// Close gives everything back. A second Close is an error that wraps
// guard.ErrClosed. No other goroutine may use the arena meanwhile.
func (k *Concurrent) Close() error {
	if k.closed {
		return fmt.Errorf("arena: close %q: %w", k.config.Name, guard.ErrClosed)
	}
	if err := k.region.Close(); err != nil {
		return fmt.Errorf("arena: close: %w", err)
	}
	k.restart()
	k.closed = true
	return nil
}

// Stats returns the arena's figures; Live counts chunks as a whole. Any goroutine may call it.
func (k *Concurrent) Stats() Stats {
	s := regionStats(k.region, k.closed)
	top := k.next.Load()
	s.Live = int64(top - first)
	s.HighWater = int64(max(k.high.Load(), top) - first)
	return s
}
