// Package decay says when free memory has waited long enough to go back to the system.
//
// Allocators have no goroutine for that. Instead their slow paths ask a Gate, which lets one of them
// through every 100 ms: that one looks for memory that has been free for long.
package decay

import (
	"sync/atomic"
	"time"
)

// Beat is the fewest ticks between two looks.
const Beat = 100

// Ticks is a clock of milliseconds that wraps after 49 days. Differences of two ticks are right for that
// long.
func Ticks() uint32 { return uint32(time.Since(start).Milliseconds()) }

var start = time.Now()

// Gate lets one caller through in each Beat. The zero Gate lets the first caller through. Any goroutine
// may use it.
type Gate struct {
	last atomic.Uint32 // ticks when it let somebody through
}

// Pass tells whether the caller may look now, and for how many ticks nobody could. Cost: a load, and for
// the one that passes a compare-and-swap.
func (g *Gate) Pass(now uint32) (since uint32, ok bool) {
	last := g.last.Load()
	since = now - last
	return since, since >= Beat && g.last.CompareAndSwap(last, now)
}

// Shut lets nobody through for a Beat from now.
func (g *Gate) Shut(now uint32) { g.last.Store(now) }
