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

// Pool keeps arenas for reuse: one for each request, say. Its methods may be called by any number of goroutines;
// each arena is for one goroutine at a time. OpenPool makes one; using the zero Pool, or nil, is a
// *guard.Violation. It must not be copied.
//
// Each processor caches one idle arena, so that Get and Put rarely meet other goroutines. Other idle arenas are in a
// list with a lock. There are hardly more arenas than were in use at the same time.
//
// An arena that was idle for half a second gives memory above Config.Retain back, and one that was idle for a second
// is closed. Get and Put do that now and then; no goroutine of the pool does. So nothing goes back while nobody calls
// the pool, unless Purge is called, which closes all idle arenas.
type Pool struct {
	_      nocopy.NoCopy
	caches percpu.Table[cache]
	config Config
	first  *region.Region // of the first arena, closed or not: those of the others are part of it

	look decay.Gate // of mayDecay

	mu     sync.Mutex
	idle   []*Arena
	opened int // arenas opened and not closed
	closed bool
}

// OpenPool makes a pool whose arenas are opened with c. It opens the first one at once, and returns an error if that
// fails; the others are opened when they are needed. The default of c.Reserve is 1 GiB, so that many arenas fit into
// the address space.
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

// Get returns an empty arena: an idle one, or else a new one. It panics with an error that wraps guard.ErrNoMemory
// if no arena can be opened. A Get after Close is a *guard.Violation.
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

// TryGet is Get that returns its error. It wraps guard.ErrNoMemory or, after Close, guard.ErrClosed. Use it in
// goroutines that may still run when the pool is closed.
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

// handOut opens an idle arena. Now and then it returns true: it is time to look for arenas that were idle for
// long.
func (a *Arena) handOut() (look bool) {
	a.state = stateOpen
	if pointerfree.Trusted {
		a.limit = a.ready
	}
	a.gets++
	return a.gets%lookEvery == 0
}

// mustFind is find for Get: it panics instead of returning an error.
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

// find returns an idle arena from the list or from another processor's cache, and a new one if there is none.
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

// pop removes an idle arena from the list or a cache, and returns it; nil if there is none. Caller holds p.mu.
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

// Put resets the arena and keeps it for the next Get. nil is ignored. If an OnReset callback panics, the arena is
// kept all the same. After Close of the pool Put closes the arena.
//
// It is a *guard.Violation to put an arena twice, to put it into another pool, or to use it before Get returns
// it again.
func (p *Pool) Put(a *Arena) {
	if a == nil {
		return
	}
	if a.pool != p || p == nil || a.state != stateOpen || a.inCallbacks {
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

// refusal returns the violation of a Put that must not be.
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

// keep puts an empty arena into the processor's cache, or else into the list.
func (p *Pool) keep(a *Arena) {
	a.state, a.limit = stateIdle, 0
	c := percpu.Pin(&p.caches)
	percpu.Unpin(c)
	if c == nil || !c.put(a) {
		p.pushIdle(a)
	}
}

// pushIdle puts an arena into the list, because the processor's cache is full; or into the processor's cache,
// if it had none.
func (p *Pool) pushIdle(a *Arena) {
	a.noteIdle(ticks())
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

// usable panics for a zero or nil Pool.
func (p *Pool) usable(op string) {
	if p == nil || p.first == nil {
		panic(zeroValue("Pool."+op, "arena.OpenPool makes a Pool"))
	}
}

// Purge closes all arenas that are idle now. An error comes from the kernel: the arenas that it refused to
// close stay idle.
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

// Close closes the idle arenas. Arenas in use are closed when they are put. A second Close returns an error that
// wraps guard.ErrClosed; but if the kernel refused to close arenas, it tries these again.
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

// discard closes idle arenas. An arena that the kernel refuses to close stays idle, and so do the arenas that are
// left when an OnReset callback panics.
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
		a.state = stateOpen // so that OnReset callbacks can use it
		a.setReady(a.ready)
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

// PoolStats counts the arenas of a pool. guard.Regions has their bytes, under Config.Name.
type PoolStats struct {
	Open int // open: idle and in use
	Idle int // waiting for Get
}

// Stats counts the arenas. The zero Pool has none.
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
