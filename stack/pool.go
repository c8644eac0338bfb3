package stack

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// ErrOverflow says that a stack has no room for an allocation. Errors wrap it with the sizes, and it wraps
// guard.ErrNoMemory.
var ErrOverflow = fmt.Errorf("stack overflow: %w", guard.ErrNoMemory)

// Pool keeps stacks of one size in one region. OpenPool makes one; any use of the zero Pool is a
// *guard.Violation. Any number of goroutines may call its methods at the same time. A Pool must not be
// copied.
type Pool struct {
	_ nocopy.NoCopy
	layout
	first       *Stack         // Stack 0; the others follow
	deepLimit   uintptr        // depth in bytes from which on Put looks at a stack more closely
	initialized atomic.Uintptr // bytes of the Stacks that are initialised; 0 when the region is closed

	config Config
	number uint32  // of the layout
	max    uintptr // stacks that the region has addresses for
	region *region.Region
	area   *trap.Area // shows the stacks to the signal handler, for native code

	// Invariant: initialized ≤ committed ≤ guarded ≤ max, counted in stacks. Stacks below initialized are
	// in use, in a cache, in idle, or between two of these; stacks from there to committed were never
	// used, but have memory; stacks below guarded have their guards.

	mu        sync.Mutex // protects the fields below
	committed uintptr
	guarded   uintptr
	idle      []uint32 // numbers of idle stacks that are in no processor's cache
	state     poolState
	deepest   int // high-water mark of the stacks that Purge gave back; of all stacks when the region is closed

	caches percpu.Table[cache]
}

type poolState uint8

const (
	stateOpen    poolState = iota
	stateClosing           // Close was called, and stacks are in use
	stateClosed            // the region is closed
)

// OpenPool reserves the addresses of a pool, and nothing else: a large Config.Max costs no memory. The
// error wraps guard.ErrNoMemory where the system refuses the addresses; any other error names the setting
// that is wrong.
func OpenPool(c Config) (*Pool, error) {
	c, err := c.normal()
	if err != nil {
		return nil, err
	}
	count, least := c.Max, c.Max
	if count == 0 {
		if count, least, err = c.countByDefault(); err != nil {
			return nil, fmt.Errorf("stack: open %q: %w", c.Name, err)
		}
	}
	for ; ; count /= 2 {
		l, size, ok := c.layoutFor(count)
		if !ok {
			return nil, fmt.Errorf("stack: open %q: %d stacks of %d bytes are more than addresses can hold: %w", c.Name, count, c.Size, guard.ErrNoMemory)
		}
		r, err := region.Reserve(region.Config{Name: c.Name, Size: size, DeferOnSoft: true})
		if err == nil {
			return c.open(count, l, r)
		}
		if count/2 < least {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
}

func (c Config) open(count int, l layout, r *region.Region) (*Pool, error) {
	if err := r.KeepZeroes(int(l.firstGuard)); err != nil {
		return nil, errors.Join(fmt.Errorf("stack: %w", err), r.Close())
	}
	// Else a stack of which one OS page was touched could take a huge one. A kernel that does not know the
	// hint has no huge ones either.
	_ = r.Advise(0, r.Size(), guard.NoHugePages)
	c.Max = count
	l.origin = uintptr(r.Base())
	l.region = weak.Make(r)
	p := &Pool{
		layout: l, first: (*Stack)(r.Base()), deepLimit: 2 * uintptr(c.Retain),
		config: c, number: l.register(), max: uintptr(count), region: r,
	}
	p.area = trap.Watch(l.origin+l.firstGuard, l.stride, l.origin+unsafe.Offsetof(header.Header{}.Block), stackSize)
	r.CountLive(p.count)
	return p, nil
}

// stack returns the Stack with number i.
func (p *Pool) stack(i uintptr) *Stack {
	return (*Stack)(unsafe.Add(unsafe.Pointer(p.first), i*stackSize))
}

// Get returns an empty stack for the caller to use until Put: the stack that was put last on this processor, if
// there is one. Get panics with an error that wraps guard.ErrNoMemory if all Config.Max stacks are in use, or
// if there is no memory for one more. After Close it is a *guard.Violation. At the limits of the budget Get
// calls Budget.OnSoft, without a lock held: OnSoft may use the pool.
//
// Cost: a few nanoseconds while this processor has idle stacks. The pool grows by a sixteenth at a time,
// with three system calls.
func (p *Pool) Get() *Stack {
	if p == nil { // pinned it would be fatal
		p.usable("Get")
	}
	c := percpu.Pin(&p.caches)
	if c != nil {
		if i, ok := c.pop(); ok {
			percpu.Unpin(c)
			s := p.stack(uintptr(i))
			s.handOut()
			return s
		}
	}
	percpu.Unpin(c)
	return p.mustFind()
}

// TryGet is Get that returns its error, which wraps guard.ErrNoMemory, or guard.ErrClosed after Close. Use
// of the zero Pool still panics.
func (p *Pool) TryGet() (*Stack, error) {
	p.usable("Get")
	c := percpu.Pin(&p.caches)
	if c != nil {
		if i, ok := c.pop(); ok {
			percpu.Unpin(c)
			s := p.stack(uintptr(i))
			s.handOut()
			return s, nil
		}
	}
	percpu.Unpin(c)
	return p.find()
}

// handOut makes an idle stack one in use.
func (s *Stack) handOut() {
	s.head.Limit = s.head.Top - uintptr(s.clean)
	s.head.State = header.StateUsed
}

// mustFind is find that panics with its error. It is not inlined, so that Get stays short.
//
//go:noinline
func (p *Pool) mustFind() *Stack {
	p.usable("Get")
	s, err := p.find()
	if errors.Is(err, guard.ErrClosed) {
		panic(&guard.Violation{Op: "stack.Get", Kind: guard.UseAfterClose, Region: p.name})
	}
	return must(s, err)
}

// find returns a stack that is in no cache, and makes one more usable if there is none. It puts a few
// others into the processor's cache.
func (p *Pool) find() (*Stack, error) {
	var taken [cacheSize / 2]uint32
	n, err := p.takeShared(taken[:])
	if err != nil && errors.Is(err, guard.ErrNoMemory) && region.Reclaim() {
		n, err = p.takeShared(taken[:])
	}
	if err != nil {
		return nil, err
	}
	n--
	for _, i := range taken[:n] {
		p.keep(i)
	}
	region.ReclaimOr(func() { p.keep(taken[n]) })
	s := p.stack(uintptr(taken[n]))
	s.handOut()
	return s, nil
}

// usable panics unless OpenPool made the pool. The pool may be closed.
func (p *Pool) usable(op string) {
	if p == nil || p.region == nil {
		panic(zeroPool(op))
	}
}

// zeroPool is not inlined, so that the check in front of a fast path is a comparison and a jump.
//
//go:noinline
func zeroPool(op string) *guard.Violation {
	return &guard.Violation{Op: "stack." + op, Kind: guard.ZeroValue, Detail: "stack.OpenPool makes a Pool"}
}

// takeShared takes stacks that are in no cache: idle ones, or else ones that were never used. It fills out
// as far as it can, with at least one stack.
func (p *Pool) takeShared(out []uint32) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateOpen {
		return 0, fmt.Errorf("stack: pool %q: %w", p.name, guard.ErrClosed)
	}
	if n = p.takeIdle(out); n > 0 {
		return n, nil
	}
	next := p.initialized.Load() / stackSize
	if next == p.committed {
		if err := p.grow(); err != nil {
			if p.anyCached() { // other processors have idle stacks
				percpu.Drain(p.drain, &p.caches)
			}
			if n = p.takeIdle(out[:1]); n > 0 {
				return n, nil
			}
			return 0, err
		}
	}
	for ; n < len(out) && next < p.committed; n++ {
		p.stack(next).init(p)
		out[n] = uint32(next)
		next++
	}
	p.initialized.Store(next * stackSize)
	return n, nil
}

// takeIdle moves stacks from p.idle to out, and returns how many. Caller holds p.mu.
func (p *Pool) takeIdle(out []uint32) (n int) {
	left := max(0, len(p.idle)-len(out))
	n = copy(out, p.idle[left:])
	p.idle = p.idle[:left]
	return n
}

// init makes the Stack of a stack that was never used. Its memory reads zero.
func (s *Stack) init(p *Pool) {
	s.layout = p.number
	s.head.Top = p.end(s)
	s.head.Limit, s.lowest = s.head.Top, s.head.Top
	s.clean = uint32(p.size)
	s.head.State = header.StateIdle
}

// grow commits more stacks: a sixteenth of those that are committed, 4 at least and 1024 at most. So
// system calls are few, and the budget is charged for few stacks that nobody uses. If there is no memory
// for so many, grow commits one. Caller holds p.mu.
func (p *Pool) grow() error {
	if p.committed == p.max {
		return fmt.Errorf("stack: pool %q: all of Max %d stacks are in use: %w", p.name, p.max, guard.ErrNoMemory)
	}
	more := min(max(p.committed/16, cacheSize/2), 1024, p.max-p.committed)
	err := p.commit(more)
	if err != nil && more > 1 {
		more = 1
		err = p.commit(more)
	}
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	p.committed += more
	p.area.Grow(p.committed * p.stride)
	return nil
}

// commit gives the next stacks their guards and then their memory, so that no stack is ever without its
// guard. After an error the next call goes on where this one stopped. Caller holds p.mu.
func (p *Pool) commit(more uintptr) error {
	if to := p.committed + more; to > p.guarded {
		lo := pages(int(p.guarded) * stackSize)
		if err := p.region.Commit(lo, pages(int(to)*stackSize)-lo); err != nil {
			return err
		}
		if err := p.region.GuardRow(int(p.firstGuard+p.guarded*p.stride), p.config.Guard, int(p.stride), int(to-p.guarded)); err != nil {
			return err
		}
		p.guarded = to
	}
	return p.region.Commit(int(p.firstGuard+p.committed*p.stride), int(more*p.stride))
}

// Put frees everything on a stack and gives the stack back to the pool. Put of nil does nothing. Put of a
// stack that was put already, that belongs to another pool, or on which native code runs is a
// *guard.Violation. So is any later call on the stack, until Get hands it out again. After
// Close, the Put of the last stack in use closes the region.
//
// A stack that was used deeper than twice Config.Retain is cut back to Retain, with one system call. The
// last 8 stacks put on each processor keep their RAM at first, because Get hands them out next.
//
// Cost: a few nanoseconds, and the time to clear what was on the stack, if it is at most 32 KiB.
func (p *Pool) Put(s *Stack) {
	if p == nil {
		p.usable("Put")
	}
	off := uintptr(unsafe.Pointer(s)) - p.origin // wraps below
	if off >= p.initialized.Load() || off%stackSize != 0 {
		p.refuse(s)
		return
	}
	if s.head.Block != 0 {
		panic(s.head.Violation("stack.Put", guard.InUse, "native code runs on the stack"))
	}
	if !atomic.CompareAndSwapUint32(&s.head.State, header.StateUsed, header.StateIdle) {
		panic(s.head.Violation("stack.Put", guard.DoubleFree, "put twice"))
	}
	i := off / stackSize
	end := p.firstGuard + (i+1)*p.stride - off // p.end(s), with the index at hand: saves half a nanosecond
	if s.head.Top != end || end-s.lowest > p.deepLimit || s.held != 0 || s.head.Native {
		p.reset(s)
	}
	s.clean = uint32(s.head.Top - s.head.Limit)
	s.head.Limit = s.head.Top
	s.serial++
	s.frame = s.serial // the number of no frame, so that Pop refuses those that are open
	if invariant.Enabled {
		s.checkInvariants()
	}
	c := percpu.Pin(&p.caches)
	ok := c != nil && c.push(uint32(i))
	percpu.Unpin(c)
	if !ok {
		p.keep(uint32(i))
	}
}

// refuse panics, unless s is nil: s is no stack of the pool.
func (p *Pool) refuse(s *Stack) {
	p.usable("Put")
	if s == nil {
		return
	}
	v := &guard.Violation{Op: "stack.Put", Kind: guard.WrongOwner, Detail: "stack of another pool", Region: p.name, Addr: uintptr(unsafe.Pointer(s))}
	p.mu.Lock()
	if p.state == stateClosed {
		v.Detail = "stack of another pool, or this one is closed"
	}
	p.mu.Unlock()
	panic(v)
}

// keep puts an idle stack into the processor's cache. If the cache is full it moves the older half to
// p.idle first. If the processor has no cache the stack goes to p.idle.
func (p *Pool) keep(i uint32) {
	var out [cacheSize / 2]uint32
	n := 0
	c := percpu.PinNew(&p.caches, newCache)
	if c != nil {
		n = c.exchange(i, &out)
	}
	percpu.Unpin(c)
	if c == nil {
		out[0], n = i, 1
	}
	p.putShared(out[:n])
}

// putShared moves idle stacks to p.idle, where every processor finds them, and trims them. It ends the pool
// if these were the last stacks in use after Close.
func (p *Pool) putShared(stacks []uint32) {
	for _, i := range stacks {
		p.trim(p.stack(uintptr(i)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, stacks...)
	// An error of the kernel is not one of Put. Close tries again.
	_ = p.endIfIdle()
}
