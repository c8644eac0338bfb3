package arena

import (
	"slices"

	"github.com/seed-9a6c551e/offheap/internal/decay"
)

// Arenas that lie idle in a Pool give their memory back after a while: first what is above
// Config.Retain, later all. No goroutine does it: Get and Put look now and then whether it is time.
const (
	purgeAfter = 500  // ticks that an arena lies idle before it is cut back to Config.Retain
	closeAfter = 1000 // ticks that it lies idle before it is closed
	lookEvery  = 128  // Gets of an arena between readings of the clock on the fast path
)

// idleness says since when an arena of a pool lies idle.
type idleness struct {
	since uint32 // ticks, if the arena was not handed out since
	gets  uint32 // Arena.gets at that time
}

// rest notes that an arena lies idle from now on. Caller owns the arena.
func (a *Arena) rest(now uint32) { a.idle = idleness{now, a.gets} }

// idleFor returns for how many ticks an arena is known to lie idle. Caller owns the arena.
func (a *Arena) idleFor(now uint32) uint32 {
	if a.idle.gets != a.gets {
		a.rest(now)
	}
	return now - a.idle.since
}

// mayDecay looks whether arenas were idle for long. Caller holds no lock.
func (p *Pool) mayDecay() {
	now := ticks()
	if _, ok := p.look.Pass(now); !ok {
		return
	}
	purge, discard := p.takeIdle(now)
	for _, a := range purge {
		_ = a.shrink(uintptr(p.config.Retain)) // what the kernel does not take now goes when it is closed
	}
	p.restore(purge)
	_ = p.discard(discard) // what the kernel refuses to close stays idle
}

// takeIdle takes the arenas out that were idle for long: those to cut back, and those to close.
// An arena with callbacks is not closed: they are for whoever uses it next, or closes the pool.
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
		p.idle = append(p.idle, a) // its processor has put another there
	}
	return purge, discard
}

// restore puts arenas back that were cut back. They are the last to be handed out, but for those that
// have lain idle even longer.
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

// ticks is the clock. Tests have their own.
var ticks = decay.Ticks
