package arena

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
	"github.com/seed-9a6c551e/offheap/internal/pointerfree"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Pool keeps arenas for reuse, one for each request, say. Its methods may be called by any number
// of goroutines; the arenas are for one goroutine at a time. OpenPool makes one: using the zero Pool,
// or nil, is a *guard.Violation. It must not be copied.
//
// Each processor caches one idle arena, so that Get and Put mostly meet no
// other goroutine; further idle arenas lie in a locked stack. There are hardly more
// arenas than were in use at the same time.
//
// An arena that was idle for half a second gives back what it has above Config.Retain, and one that
// was idle for a second is closed. Get and Put see to that, every now and then, without a goroutine
// of the pool's own: while nobody calls them nothing goes back, but by Purge, which closes all arenas
// that are idle.
type Pool struct {
	_      nocopy.NoCopy
	caches percpu.Table[cache]
	config Config
	first  *region.Region // closed or not: the others are part of it

	look decay.Gate // of mayDecay

	mu     sync.Mutex
	idle   []*Arena
	opened int // arenas opened and not closed
	closed bool
}

// OpenPool makes a pool of arenas that are opened with c when they are needed, the first at once,
// which proves c. c.Reserve is 1 GiB by default here, for many arenas must fit into the address
// space. The error is about c.
func OpenPool(c Config) (*Pool, error) {
	trial, err := openArena(c, poolReserve, nil)
	if err != nil {
		return nil, err
	}
	c.Name, c.Retain = trial.config.Name, trial.config.Retain
	p := &Pool{config: c, first: trial.region}
	p.look.Shut(ticks())
	p.opened, trial.pool = 1, p
	p.Put(trial)
	return p, nil
}

// Get returns an empty arena, an idle one if there is one. It panics with an error that wraps
// guard.ErrNoMemory where a new one cannot be opened; after Close it is a *guard.Violation.
func (p *Pool) Get() *Arena {
	var a *Arena
	if p != nil {
		c := percpu.Pin(&p.caches)
		percpu.Unpin(c)
		if c != nil {
			a = c.take()
		}
	}
	if a == nil {
		a = p.mustFind()
	}
	if a.handOut() {
		p.mayDecay()
	}
	return a
}

// TryGet is Get that returns its error: one that wraps guard.ErrNoMemory, or guard.ErrClosed after
// Close.
func (p *Pool) TryGet() (*Arena, error) {
	p.usable("Get")
	c := percpu.Pin(&p.caches)
	percpu.Unpin(c)
	var a *Arena
	if c != nil {
		a = c.take()
	}
	if a == nil {
		var err error
		if a, err = p.find(); err != nil {
			return nil, err
		}
	}
	if a.handOut() {
		p.mayDecay()
	}
	return a, nil
}

// handOut opens an idle arena. It returns true now and then, when it is time to look for arenas that
// have been idle for long.
func (a *Arena) handOut() (look bool) {
	a.state = stateOpen
	if pointerfree.Trusted {
		a.limit = a.ready
	}
	a.gets++
	return a.gets%lookEvery == 0
}

// mustFind is find that panics with its error.
//
//go:noinline
func (p *Pool) mustFind() *Arena {
	p.usable("Get")
	a, err := p.find()
	if errors.Is(err, guard.ErrClosed) {
		panic(&guard.Violation{Op: "arena.Pool.Get", Kind: guard.UseAfterClose, Region: p.config.Name})
	}
	return must(a, err)
}

// find looks for an idle arena in the stack and at the other processors, and
// opens one if there is none.
func (p *Pool) find() (*Arena, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, fmt.Errorf("arena: pool %q: %w", p.config.Name, guard.ErrClosed)
	}
	a := p.pop()
	if a == nil {
		p.opened++
	}
	p.mu.Unlock()
	p.mayDecay()
	if a != nil {
		return a, nil
	}
	a, err := openArena(p.config, poolReserve, p.first)
	if err != nil {
		p.mu.Lock()
		p.opened--
		p.mu.Unlock()
		return nil, err
	}
	a.pool = p
	return a, nil
}

// pop takes an idle arena; nil if there is none. p.mu is held.
func (p *Pool) pop() *Arena {
	if n := len(p.idle); n > 0 {
		a := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		return a
	}
	for c := range p.caches.All() {
		if a := c.take(); a != nil {
			return a
		}
	}
	return nil
}

// Put resets the arena and keeps it for the next Get; nil it ignores. Putting an arena twice, or one
// of another pool, is a *guard.Violation, and so is its use afterwards, until Get hands it out again.
// After Close of the pool it closes the arena. If an OnReset callback panics, the arena is kept all
// the same.
func (p *Pool) Put(a *Arena) {
	if a == nil {
		return
	}
	if a.pool != p || p == nil || a.state != stateOpen || a.reset {
		panic(p.refusal(a))
	}
	if len(a.onReset) > 0 {
		defer p.keep(a) // a callback may panic
		a.Reset()
		return
	}
	a.restart()
	p.keep(a)
}

// refusal returns what is wrong about a Put.
//
//go:noinline
func (p *Pool) refusal(a *Arena) *guard.Violation {
	p.usable("Put")
	switch {
	case a.region == nil:
		return a.unusable("Put")
	case a.pool != p:
		return a.violation("Put", guard.WrongOwner, "arena of another pool")
	case a.state != stateOpen:
		return a.violation("Put", guard.DoubleFree, "put twice")
	}
	return a.violation("Put", guard.InUse, "called by an OnReset callback")
}

func (p *Pool) keep(a *Arena) {
	a.state, a.limit = stateIdle, 0
	c := percpu.Pin(&p.caches)
	percpu.Unpin(c)
	if c == nil || !c.put(a) {
		p.stack(a)
	}
}

// stack keeps an arena that the processor has no room for, or no cache yet.
func (p *Pool) stack(a *Arena) {
	a.rest(ticks())
	p.mu.Lock()
	late := p.closed
	if !late {
		if c := p.caches.HereNew(newCache); c == nil || !c.put(a) {
			p.idle = append(p.idle, a)
		}
	}
	p.mu.Unlock()
	if late {
		_ = p.discard([]*Arena{a})
		return
	}
	p.mayDecay()
}

// usable panics where there is no pool.
func (p *Pool) usable(op string) {
	if p == nil || p.first == nil {
		panic(zeroValue("Pool."+op, "arena.OpenPool makes a Pool"))
	}
}

// Purge closes the arenas that are idle now.
func (p *Pool) Purge() error {
	p.usable("Purge")
	p.mu.Lock()
	var out []*Arena
	for a := p.pop(); a != nil; a = p.pop() {
		out = append(out, a)
	}
	p.mu.Unlock()
	return p.discard(out)
}

// Close closes the idle arenas; those in use are closed when they are put. A second Close is an
// error that wraps guard.ErrClosed, unless there are arenas that the kernel refused to close: then
// it tries them again.
func (p *Pool) Close() error {
	p.usable("Close")
	p.mu.Lock()
	if p.closed && len(p.idle) == 0 {
		p.mu.Unlock()
		return fmt.Errorf("arena: close pool %q: %w", p.config.Name, guard.ErrClosed)
	}
	p.closed = true
	out := p.idle
	p.idle = nil
	for c := range p.caches.All() {
		if a := c.close(); a != nil {
			out = append(out, a)
		}
	}
	p.mu.Unlock()
	return p.discard(out)
}

// discard closes idle arenas. One that the kernel refuses to close stays idle, and so do those that
// are left when a callback panics.
func (p *Pool) discard(arenas []*Arena) error {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range arenas {
			if a.state == stateClosed {
				p.opened--
				continue
			}
			a.state, a.limit = stateIdle, 0
			p.idle = append(p.idle, a)
		}
	}()
	var errs []error
	for _, a := range arenas {
		a.state = stateOpen // for callbacks that others registered
		a.setReady(a.ready)
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

// PoolStats counts arenas. Their bytes are in guard.Regions, under the pool's name.
type PoolStats struct {
	Open int // opened and not closed: idle and in use
	Idle int // waiting for Get
}

// Stats counts the pool's arenas; the zero Pool has none.
func (p *Pool) Stats() PoolStats {
	if p == nil {
		return PoolStats{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStats{Open: p.opened, Idle: len(p.idle)}
	for c := range p.caches.All() {
		if c.holds() {
			s.Idle++
		}
	}
	return s
}
