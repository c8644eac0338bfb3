package arena

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// Reset frees everything that was handed out: pointers into the arena must not be used any more. Before that it
// calls the OnReset callbacks, the last registered first. A round is the time between two Resets: memory that
// recent rounds did not need goes back to the system.
func (a *Arena) Reset() {
	a.usable("Reset")
	if len(a.onReset) > 0 || a.inCallbacks {
		a.unwind("Reset", 0, a.restart)
		return
	}
	a.restart()
}

func (a *Arena) restart() {
	a.free(first)
	used := a.peak
	a.high, a.peak = max(a.high, used), first
	a.epoch++
	a.rewinds.since, a.rewinds.n = a.epoch, 0
	a.trim(used)
}

// eager is how many bytes are cleared when they are freed, rather than when they are handed out again. So few
// are still in the cache, and the next round begins on the fast path.
const eager = 4 << 10

// free frees the bytes from an offset to top.
func (a *Arena) free(to uintptr) {
	from := a.top
	a.peak = max(a.peak, from)
	a.top, a.tail = to, 0
	if from-to <= eager {
		clear(unsafe.Slice((*byte)(unsafe.Add(a.base, to)), from-to))
	} else {
		a.dirty = max(a.dirty, from)
		a.setReady(to)
	}
	if invariant.Enabled {
		a.check()
	}
}

// trim gives memory back that recent rounds did not use. recent falls by an eighth with each round, so the
// memory of a spike goes after some rounds. Rounds of about the same size do not pay for it again and again,
// because twice recent is kept.
func (a *Arena) trim(used uintptr) {
	a.recent = max(used, a.recent-a.recent/8)
	keep := max(uintptr(a.config.Retain), a.recent)
	if a.committed > 2*keep {
		_ = a.shrink(keep) // memory that the kernel does not take stays committed
	}
}

// Purge gives back to the system all memory that is not handed out, except for the rest of the last OS page
// (with HugePages, of the last 2 MiB). Objects stay valid. It makes a system call only if there is something to
// give back. An error comes from the kernel; the arena then keeps its memory.
//
// An arena that is idle keeps the memory that recent rounds used: call Purge, or put the arena into a Pool,
// which does.
func (a *Arena) Purge() error {
	a.usable("Purge")
	if err := a.shrink(0); err != nil {
		return fmt.Errorf("arena: purge: %w", err)
	}
	return nil
}

// shrink decommits all memory above the first keep bytes that is not handed out.
func (a *Arena) shrink(keep uintptr) error {
	if a.top > first {
		keep = max(keep, a.top)
	}
	keep = alignUp(keep, a.config.unit())
	if keep >= a.committed || a.header != nil {
		return nil
	}
	if err := a.region.Decommit(int(keep), int(a.committed-keep)); err != nil {
		return err
	}
	a.committed = keep
	a.dirty = max(min(a.dirty, keep), first)
	a.ready = max(min(a.ready, keep), first)
	if a.limit != 0 { // the fast path is in use
		a.limit = a.ready
	}
	if invariant.Enabled {
		a.check()
	}
	return nil
}
