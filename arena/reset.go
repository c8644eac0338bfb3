package arena

import (
	"fmt"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
)

// Reset frees everything that was handed out: pointers into the arena must not be used any more. It
// runs the OnReset callbacks first. Memory that recent rounds did not need goes back to the system.
func (a *Arena) Reset() {
	a.usable("Reset")
	if len(a.onReset) > 0 || a.reset {
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

// eager is the most that is cleared when it is freed rather than when it is handed out
// again: so little is still in the cache, and the next round starts on the fast path.
const eager = 4 << 10

// free takes [to, top) back.
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

// trim gives back what stands above what recent rounds used. The memory of a spike
// goes after some rounds, because recent falls by an eighth each; the factor of two keeps
// rounds of about the same size from paying for it again and again.
func (a *Arena) trim(used uintptr) {
	a.recent = max(used, a.recent-a.recent/8)
	keep := max(uintptr(a.config.Retain), a.recent)
	if a.committed > 2*keep {
		_ = a.shrink(keep) // what the kernel does not take stays ours, as it was
	}
}

// Purge gives all memory back to the system but what is handed out, and the rest of its last OS page
// (of its last 2 MiB with HugePages). What was allocated stays valid. It is a system call if there is
// something to give back, and nothing otherwise. The error is the kernel's; the arena then keeps what
// it had.
//
// An arena that is not used for a while keeps what recent rounds used: Purge it, or put it into a
// Pool, which does.
func (a *Arena) Purge() error {
	a.usable("Purge")
	if err := a.shrink(0); err != nil {
		return fmt.Errorf("arena: purge: %w", err)
	}
	return nil
}

// shrink decommits what lies beyond the first keep bytes and is not handed out.
func (a *Arena) shrink(keep uintptr) error {
	if a.top > first {
		keep = max(keep, a.top)
	}
	keep = alignUp(keep, a.config.unit())
	if keep >= a.committed {
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
