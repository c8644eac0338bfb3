package arena

import (
	"slices"

	"github.com/seed-9a6c551e/offheap/internal/decay"
)

// An arena that is idle in a Pool gives memory back after a while: first the memory above Config.Retain, later
// all of it. No goroutine of the pool does that: Get and Put look now and then whether it is time.
const (
	purgeAfter = 500  // ticks that an arena is idle before it is cut back to Config.Retain
	closeAfter = 1000 // ticks that an arena is idle before it is closed
	lookEvery  = 128  // Gets of an arena between readings of the clock on the fast path
)

// idleness says since when an arena of a pool is idle.
type idleness struct {
	since uint32 // ticks, if the arena was not handed out since
	gets  uint32 // Arena.gets at that time
}

// noteIdle notes that the arena is idle from now on. Caller owns the arena.
func (a *Arena) noteIdle(now uint32) { a.idle = idleness{now, a.gets} }

// idleFor returns for how many ticks the arena is known to be idle. Caller owns the arena.
func (a *Arena) idleFor(now uint32) uint32 {
	if a.idle.gets != a.gets {
		a.noteIdle(now)
	}
	return now - a.idle.since
}

// mayDecay gives memory of idle arenas back, if it is time to look for them. Caller holds no lock.
func (p *Pool) mayDecay() {
	now := ticks()
	if _, ok := p.look.Pass(now); !ok {
		return
	}
	purge, discard := p.takeIdle(now)
	for _, a := range purge {
		_ = a.shrink(uintptr(p.config.Retain)) // memory that the kernel does not take now goes with Close
	}
	p.restore(purge)
	_ = p.discard(discard) // arenas that the kernel refuses to close stay idle
}

// takeIdle takes the arenas from the pool that were idle for long: those to cut back, and those to close. It does
// not close an arena with OnReset callbacks: they are for the next user of the arena, or for the end of the pool.
func (p *Pool) takeIdle(now uint32) (purge, discard []*Arena) {
	p.mu.Lock()
	defer p.mu.Unlock()
	take := func(a *Arena) bool {
		switch idle := a.idleFor(now); {
		case idle >= closeAfter && len(a.onReset) == 0:
			discard = append(discard, a)
		case idle >= purgeAfter && a.committed > alignUp(uintptr(p.config.Retain), p.config.unit()):
			purge = append(purge, a)
		default:
			return false
		}
		return true
	}
	p.idle = slices.DeleteFunc(p.idle, take)
	for c := range p.caches.All() {
		a := c.take()
		if a == nil || take(a) || c.put(a) {
			continue
		}
		p.idle = append(p.idle, a) // the processor has put another one into its cache
	}
	return purge, discard
}

// restore puts arenas back that were cut back. They are handed out last, except for arenas that have been idle even
// longer.
func (p *Pool) restore(arenas []*Arena) {
	if len(arenas) == 0 {
		return
	}
	p.mu.Lock()
	late := p.closed
	if !late {
		p.idle = slices.Insert(p.idle, 0, arenas...)
	}
	p.mu.Unlock()
	if late {
		_ = p.discard(arenas)
	}
}

// ticks is the clock. Tests replace it.
var ticks = decay.Ticks
