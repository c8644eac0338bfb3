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

// ErrOverflow is wrapped by the error of a call for which a stack has no room. It wraps
// guard.ErrNoMemory.
var ErrOverflow = fmt.Errorf("stack overflow: %w", guard.ErrNoMemory)

// Pool keeps stacks of one size in one region. OpenPool makes one; use of the zero Pool is a
// *guard.Violation. Its methods may be called by any number of goroutines; the stacks are for one
// goroutine at a time. A Pool must not be copied.
type Pool struct {
	_ nocopy.NoCopy
	layout
	first       *Stack         // the others follow
	deepLimit   uintptr        // bytes that a stack may have used to be put without a closer look
	initialized atomic.Uintptr // bytes of the Stacks that were ever handed out; 0 after the end

	config Config
	number uint32
	max    uintptr // stacks that there can be
	region *region.Region
	area   *trap.Area

	// Invariant: every stack below fresh is in use, in a cache, in idle, or on its way between;
	// those from fresh to ready were never used, but are committed; those below guarded have
	// their guards, and ready ≤ guarded.
	mu                 sync.Mutex
	committed, guarded uintptr
	idle               []uint32
	state              poolState
	deepest            int // of the stacks that Purge gave back, and of all when the pool came to its end

	caches percpu.Table[cache]
}

type poolState uint8

const (
	stateOpen    poolState = iota
	stateClosing           // waits for the stacks that are in use
	stateClosed
)

// OpenPool reserves a pool. No stack has memory yet, nor a guard: a large Max costs addresses only.
// The error wraps guard.ErrNoMemory where these are refused.
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
	// A stack of which one OS page was touched should not take a huge one. Where the kernel does
	// not know the hint it has none either.
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

func (p *Pool) stack(i uintptr) *Stack {
	return (*Stack)(unsafe.Add(unsafe.Pointer(p.first), i*stackSize))
}

// Get returns an empty stack, one that was put lately if there is one. It is the caller's until Put.
// It panics with an error that wraps guard.ErrNoMemory where all are in use or the next cannot have its
// memory; after Close it is a *guard.Violation. Get calls Budget.OnSoft where that is due, without a
// lock: OnSoft may use the pool.
//
// Cost: the pin and a pop. For stacks that were never used, a sixteenth more than there are get
// their guards and memory with three system calls.
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

// TryGet is Get that returns its error: one that wraps guard.ErrNoMemory, or guard.ErrClosed after
// Close.
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

// start makes an idle stack usable.
func (s *Stack) handOut() {
	s.head.Limit = s.head.Top - uintptr(s.clean)
	s.head.State = header.StateUsed
}

// mustFind is find that panics with its error.
//
//go:noinline
func (p *Pool) mustFind() *Stack {
	p.usable("Get")
	s, err := p.find()
	if errors.Is(err, guard.ErrClosed) {
		panic(&guard.Violation{Op: "stack.Get", What: "use after Close", Region: p.name})
	}
	return must(s, err)
}

// find returns a stack from the shared store, or one that was never used.
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

// usable panics unless OpenPool made the pool. It may be closed.
func (p *Pool) usable(op string) {
	if p == nil || p.region == nil {
		panic(zeroPool(op))
	}
}

// zeroPool is not inlined, so that the check in front of a fast path is a comparison and a jump.
//
//go:noinline
func zeroPool(op string) *guard.Violation {
	return &guard.Violation{Op: "stack." + op, What: "use of a zero Pool: stack.OpenPool makes one"}
}

// take takes some stacks that nobody has, at least one.
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
			if p.anyCached() { // other processors keep what this one needs
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

func (p *Pool) takeIdle(out []uint32) (n int) {
	left := max(0, len(p.idle)-len(out))
	n = copy(out, p.idle[left:])
	p.idle = p.idle[:left]
	return n
}

// begin makes a Stack of memory that reads zero.
func (s *Stack) init(p *Pool) {
	s.layout = p.number
	s.head.Top = p.end(s)
	s.head.Limit, s.lowest = s.head.Top, s.head.Top
	s.clean = uint32(p.size)
	s.head.State = header.StateIdle
}

// grow makes more stacks ready, p.mu is held: a sixteenth of those that there are, so that few
// system calls are made, and not many stacks charged that nobody uses.
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

// commit gives the next stacks their guards and memory, in this order, so that none is ever without
// its guard. What was done before an error serves the next time.
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

// Put takes a stack back, with all that is on it, and keeps it for the next Get. Putting nil does
// nothing. Putting a stack twice, or one of another pool, is a *guard.Violation, and so is nearly
// all use afterwards, until Get hands it out again. After Close, the last Put closes the region.
//
// A stack that went deeper than twice Config.Retain is cut back to that. The last few that were put
// on each processor keep what they have for some rounds more, because they go out first.
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
		panic(s.head.Violation("stack.Put", "native code runs on the stack"))
	}
	if !atomic.CompareAndSwapUint32(&s.head.State, header.StateUsed, header.StateIdle) {
		panic(s.head.Violation("stack.Put", "put twice"))
	}
	i := off / stackSize
	end := p.firstGuard + (i+1)*p.stride - off // shape.end of what is at hand: half a nanosecond
	if s.head.Top != end || end-s.lowest > p.deepLimit || s.held != 0 || s.head.Native {
		p.reset(s)
	}
	s.clean = uint32(s.head.Top - s.head.Limit)
	s.head.Limit = s.head.Top
	s.serial++
	s.frame = s.serial // no frame's: those that are open are not popped any more
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

// refuse panics for what is no stack of the pool, unless it is nil.
func (p *Pool) refuse(s *Stack) {
	p.usable("Put")
	if s == nil {
		return
	}
	v := &guard.Violation{Op: "stack.Put", What: "stack of another pool", Region: p.name, Addr: uintptr(unsafe.Pointer(s))}
	p.mu.Lock()
	if p.state == stateClosed {
		v.What = "stack of another pool, or this one is closed"
	}
	p.mu.Unlock()
	panic(v)
}

// put keeps an idle stack. If the processor's cache is full the half of it that was put first goes to
// the shared store, and if there is none the stack.
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

// store keeps idle stacks where every processor can get them, and nothing that is too much.
func (p *Pool) putShared(stacks []uint32) {
	for _, i := range stacks {
		p.trim(p.stack(uintptr(i)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, stacks...)
	// The kernel's refusal is not the caller's business: Close can be tried again.
	_ = p.endIfIdle()
}
