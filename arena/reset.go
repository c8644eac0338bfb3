package arena

import (
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
	if a.committed <= 2*keep {
		return
	}
	keep = alignUp(keep, a.config.unit())
	if keep >= a.committed || a.region.Decommit(int(keep), int(a.committed-keep)) != nil {
		return // what the kernel does not take stays ours, as it was
	}
	a.committed = keep
	a.dirty = min(a.dirty, keep)
	a.setReady(min(a.ready, keep))
	if invariant.Enabled {
		a.check()
	}
}

// OnReset registers f to be called when what is allocated after this call is freed: by Reset,
// Close, or Rewind to a Mark taken before. The last registered is called first, each once, all
// before the memory goes, and all of them even if one panics. f may use the arena, but not reset,
// rewind or close it.
func (a *Arena) OnReset(f func()) {
	a.usable("OnReset")
	a.onReset = append(a.onReset, f)
}

// unwind runs the callbacks above keep, then done.
func (a *Arena) unwind(op string, keep int, done func()) {
	if a.reset {
		panic(a.violation(op, "called by an OnReset callback"))
	}
	if len(a.onReset) > keep {
		a.reset = true
		defer func() {
			a.reset = false
			done()
		}()
		a.callDown(keep)
		return
	}
	done()
}

func (a *Arena) callDown(keep int) {
	for len(a.onReset) > keep {
		last := len(a.onReset) - 1
		f := a.onReset[last]
		a.onReset[last] = nil
		a.onReset = a.onReset[:last]
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
