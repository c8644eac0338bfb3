package arena

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// Pool keeps arenas for reuse, one for each request, say. Its methods may be called by any number
// of goroutines; the arenas are for one goroutine at a time.
//
// Every processor has a place for one idle arena, so that Get and Put mostly meet no
// other goroutine; further idle arenas lie in a locked stack. There are hardly more
// arenas than were in use at the same time, and Purge closes those that are idle.
type Pool struct {
	places []place
	config Config
	first  *guard.Region // closed or not: the others are part of it

	mu     sync.Mutex
	idle   []*Arena
	opened int // arenas opened and not closed
	closed bool
}

// place is alone on its cache line and on the next, which processors fetch in pairs.
type place struct {
	arena atomic.Pointer[Arena]
	_     [120]byte
}

// OpenPool makes a pool of arenas that are opened with c when they are needed, the first at once,
// which proves c. c.Reserve is 1 GiB by default here, for many arenas must fit into the address
// space. The error is about c.
func OpenPool(c Config) (*Pool, error) {
	trial, err := openArena(c, poolReserve, nil)
	if err != nil {
		return nil, err
	}
	c.Name = trial.config.Name
	p := &Pool{places: make([]place, processors()), config: c, first: trial.region}
	p.opened, trial.pool = 1, p
	p.Put(trial)
	return p, nil
}

// processors is how many places per-processor state has: GOMAXPROCS may be raised later,
// rarely beyond the processors that there are.
func processors() int { return max(runtime.GOMAXPROCS(0), runtime.NumCPU()) }

// gone marks the places of a closed pool, so that a late Put does not leave its arena there.
var gone Arena

func (p *Pool) here() *place {
	pid := procpin.Pin()
	procpin.Unpin()
	if pid >= len(p.places) {
		pid = 0
	}
	return &p.places[pid]
}

// take empties the place; nil if there was nothing to take.
func (at *place) take() *Arena {
	a := at.arena.Load()
	if a == nil || a == &gone || !at.arena.CompareAndSwap(a, nil) {
		return nil
	}
	return a
}

// Get returns an empty arena, an idle one if there is one. The error wraps guard.ErrNoMemory
// where a new one cannot be opened, and guard.ErrClosed after Close.
func (p *Pool) Get() (*Arena, error) {
	a := p.here().take()
	if a == nil {
		var err error
		if a, err = p.find(); err != nil {
			return nil, err
		}
	}
	a.state = open
	a.setReady(a.ready)
	return a, nil
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
	for i := range p.places {
		if a := p.places[i].take(); a != nil {
			return a
		}
	}
	return nil
}

// Put resets the arena and keeps it for the next Get. Putting an arena twice, or one of another
// pool, is a *guard.Violation, and so is its use afterwards, until Get hands it out again. After
// Close of the pool it closes the arena. If an OnReset callback panics, the arena is kept all the
// same.
func (p *Pool) Put(a *Arena) {
	if a.pool != p {
		panic(a.violation("Put", "arena of another pool"))
	}
	if a.state != open {
		panic(a.violation("Put", "put twice"))
	}
	if a.reset {
		panic(a.violation("Put", "called by an OnReset callback"))
	}
	if len(a.onReset) > 0 {
		defer p.keep(a) // a callback may panic
		a.Reset()
		return
	}
	a.restart()
	p.keep(a)
}

func (p *Pool) keep(a *Arena) {
	a.state, a.limit = idle, 0
	if !p.here().arena.CompareAndSwap(nil, a) {
		p.stack(a)
	}
}

func (p *Pool) stack(a *Arena) {
	p.mu.Lock()
	late := p.closed
	if !late {
		p.idle = append(p.idle, a)
	}
	p.mu.Unlock()
	if late {
		_ = p.discard([]*Arena{a})
	}
}

// Purge closes the arenas that are idle now.
func (p *Pool) Purge() error {
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
	p.mu.Lock()
	if p.closed && len(p.idle) == 0 {
		p.mu.Unlock()
		return fmt.Errorf("arena: close pool %q: %w", p.config.Name, guard.ErrClosed)
	}
	p.closed = true
	out := p.idle
	p.idle = nil
	p.mu.Unlock()
	for i := range p.places {
		if a := p.places[i].arena.Swap(&gone); a != nil && a != &gone {
			out = append(out, a)
		}
	}
	return p.discard(out)
}

// discard closes idle arenas. One that the kernel refuses to close stays idle.
func (p *Pool) discard(arenas []*Arena) error {
	var errs []error
	for _, a := range arenas {
		errs = append(errs, a.close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range arenas {
		if a.state == closed {
			p.opened--
		} else {
			p.idle = append(p.idle, a)
		}
	}
	return errors.Join(errs...)
}

// PoolStats counts arenas. Their bytes are in guard.Regions, under the pool's name.
type PoolStats struct {
	Open int // opened and not closed: idle and in use
	Idle int // waiting for Get
}

// Stats counts the pool's arenas.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStats{Open: p.opened, Idle: len(p.idle)}
	for i := range p.places {
		if a := p.places[i].arena.Load(); a != nil && a != &gone {
			s.Idle++
		}
	}
	return s
}
