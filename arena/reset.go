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

// OnReset registers f to be called when what is allocated after this call is freed: by Reset,
// Close, Pool.Put, or Rewind to a Mark taken before. The last registered is called first, each once,
// all before the memory goes, and all of them even if one panics. f may use the arena, but not reset,
// rewind or close it. What f registers, itself for example, is called by the next Reset, Put or such
// Rewind; what it registers during Close is never called, unless Close fails.
func (a *Arena) OnReset(f func()) {
	a.usable("OnReset")
	a.onReset = append(a.onReset, f)
}

// onFree calls f when what is allocated after this call is freed, before any callback registered
// earlier. While callbacks run that is soon, so f is called at once. f must not call back.
func (a *Arena) onFree(f func()) {
	if a.reset {
		f()
		return
	}
	a.onReset = append(a.onReset, f)
}

// unwind runs the callbacks above keep, then done. Those that are registered meanwhile stay for the
// next time.
func (a *Arena) unwind(op string, keep int, done func()) {
	if a.reset {
		panic(a.violation(op, "called by an OnReset callback"))
	}
	n := len(a.onReset)
	if n > keep {
		a.reset, a.uncalled = true, n
		defer func() {
			a.reset = false
			kept := keep + copy(a.onReset[keep:], a.onReset[n:])
			clear(a.onReset[kept:])
			a.onReset = a.onReset[:kept]
			done()
		}()
		a.callDown(keep)
		return
	}
	done()
}

// callDown runs the callbacks from the last uncalled one down to keep.
func (a *Arena) callDown(keep int) {
	for a.uncalled > keep {
		a.uncalled--
		f := a.onReset[a.uncalled]
		func() {
			panicked := true
			defer func() {
				if panicked {
					a.callDown(keep) // the others run before the panic goes on
				}
			}()
			f()
			panicked = false
		}()
	}
}
