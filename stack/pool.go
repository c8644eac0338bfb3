package stack

import (
	"errors"
	"fmt"
	"slices"
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

	// Invariant: initialized ≤ committed ≤ guarded ≤ max, counted in stacks. While nobody holds mu, each stack
	// below initialized is in use or being put, in a cache, in idle, or counted in trimming. Stacks from there to
	// committed were never used, but have memory; stacks below guarded have their guards.

	mu        sync.Mutex // protects the fields below; caches are made only while it is held
	committed uintptr
	guarded   uintptr
	idle      []uint32  // numbers of idle stacks that are in no processor's cache
	trimming  int       // idle stacks that Puts are trimming; then they are in idle
	trimmed   sync.Cond // trimming has become less
	scarce    int       // Puts that still bypass the caches, since a Get found no memory for one more stack
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
	p.trimmed.L = &p.mu
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

// find returns a stack that is not in this processor's cache, and makes one more usable if there is none. At
// the limits of the budget it calls OnSoft.
func (p *Pool) find() (*Stack, error) {
	i, err := p.takeShared()
	if err != nil && errors.Is(err, guard.ErrNoMemory) && region.Reclaim() {
		i, err = p.takeShared()
	}
	if err != nil {
		return nil, err
	}
	region.ReclaimOr(func() { p.keep(i) })
	s := p.stack(uintptr(i))
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

// scarcePuts is how many Puts bypass the caches after a Get that found no memory for one more stack. Those that
// follow are likely to need the stacks on any processor, and to empty caches stops the world. So many stacks may
// be idle in p.idle that no Put has trimmed.
const scarcePuts = 32

// takeShared takes a stack that is in no cache: an idle one, or else one that was never used, or else one
// that another processor caches. It puts a few others into the processor's cache. It fails only if all stacks
// are in use, or if the pool is closed.
func (p *Pool) takeShared() (i uint32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.state != stateOpen {
			return 0, fmt.Errorf("stack: pool %q: %w", p.name, guard.ErrClosed)
		}
		if len(p.idle) > 0 {
			break
		}
		err := p.initIdle()
		if err == nil {
			break
		}
		p.scarce = scarcePuts
		percpu.Drain(p.drain, &p.caches)
		// No processor gets a cache until p.mu is unlocked. So stacks that are not in use now are in p.idle or
		// being trimmed.
		if len(p.idle) > 0 {
			break
		}
		if p.trimming == 0 {
			return 0, err
		}
		p.trimmed.Wait()
	}
	last := len(p.idle) - 1
	i, p.idle = p.idle[last], p.idle[:last]
	if p.scarce == 0 {
		p.fillCache()
	}
	return i, nil
}

// fillCache moves a few stacks from p.idle into the processor's cache. Caller holds p.mu.
func (p *Pool) fillCache() {
	n := 0
	c := percpu.PinNew(&p.caches, newCache)
	if c != nil {
		n = c.fill(p.idle)
	}
	percpu.Unpin(c)
	p.idle = p.idle[:len(p.idle)-n]
}

// initIdle moves a few stacks that were never used to p.idle. It commits more if there are none. Caller holds
// p.mu.
func (p *Pool) initIdle() error {
	next := p.initialized.Load() / stackSize
	if next == p.committed {
		if err := p.grow(); err != nil {
			return err
		}
	}
	for range min(cacheSize/2, p.committed-next) {
		p.stack(next).init(p)
		p.idle = append(p.idle, uint32(next))
		next++
	}
	p.initialized.Store(next * stackSize)
	return nil
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
// last 8 stacks put on each processor keep their RAM at first, because Get hands them out next. So do at most 32
// stacks that are put after a Get found no memory for one more.
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

// keep puts an idle stack into the processor's cache. If the cache is full it moves the older half to p.idle,
// where every processor finds them, and trims them. If the processor has no cache, or stacks are scarce, the
// stack goes to p.idle. keep ends the pool if the stack was the last one in use after Close.
func (p *Pool) keep(i uint32) {
	var out [cacheSize / 2]uint32
	p.mu.Lock()
	if p.scarce > 0 {
		p.scarce--
		p.idle = append(p.idle, i)
	} else {
		n := 0
		c := percpu.PinNew(&p.caches, newCache)
		if c != nil {
			n = c.exchange(i, &out)
		}
		percpu.Unpin(c)
		if c == nil {
			out[0], n = i, 1
		}
		p.putIdle(out[:n])
	}
	// An error of the kernel is not one of Put. Close tries again.
	_ = p.endIfIdle()
	p.mu.Unlock()
}

// putIdle moves idle stacks to p.idle, and trims them. Caller holds p.mu, which putIdle unlocks for system
// calls.
func (p *Pool) putIdle(stacks []uint32) {
	if slices.ContainsFunc(stacks, p.needsTrim) {
		p.trimming += len(stacks)
		p.mu.Unlock()
		for _, i := range stacks {
			p.trim(p.stack(uintptr(i)))
		}
		p.mu.Lock()
		p.trimming -= len(stacks)
		p.trimmed.Broadcast()
	}
	p.idle = append(p.idle, stacks...)
}
