package arena

import (
	"cmp"
	"slices"

	"github.com/seed-9a6c551e/offheap/guard"
)

// callbacks are the functions that wait for the arena's memory to be freed.
type callbacks struct {
	onReset    []callback // in the order of registration
	registered uint64     // how many ever were: the id of the last
	cancelled  int        // entries of onReset without a function
	uncalled   int        // while callbacks run: how many of onReset are still to come, the first ones
}

// callback is a registered function; nil if it was cancelled.
type callback struct {
	f  func()
	id uint64
}

// OnReset registers f to be called when what is allocated after this call is freed: by Reset,
// Close, Pool.Put, or Rewind to a Mark taken before. The last registered is called first, each once,
// all before the memory goes, and all of them even if one panics. f must not be nil. It may use the
// arena, but not reset, rewind or close it. What f registers, itself for example, is called by the
// next Reset, Put or such Rewind; what it registers during Close is never called, unless Close fails.
//
// cancel takes f back: it is not called any more. It does nothing if f was called or cancelled
// before. Like the arena, it is for one goroutine at a time.
//
// Cost: 16 bytes of the Go heap until f is called or cancelled, and 24 for cancel, if it is used.
func (a *Arena) OnReset(f func()) (cancel func()) {
	return a.register(f).cancel
}

// register is OnReset, apart from it so that OnReset is inlined: then cancel takes no memory where
// nobody uses it.
func (a *Arena) register(f func()) registration {
	a.usable("OnReset")
	if f == nil {
		panic(a.violation("OnReset", guard.InvalidArgument, "nil function"))
	}
	a.registered++
	a.onReset = append(a.onReset, callback{f, a.registered})
	return registration{a, a.registered}
}

// registration names a callback that was registered.
type registration struct {
	arena *Arena
	id    uint64
}

// cancel removes the callback.
func (r registration) cancel() { r.arena.cancel(r.id) }

func (a *Arena) cancel(id uint64) {
	i, found := a.callbackAfter(id - 1)
	if !found || a.onReset[i].id != id || a.onReset[i].f == nil {
		return
	}
	a.onReset[i].f = nil
	a.cancelled++
	if !a.reset { // callDown counts on the places of callbacks
		a.compact()
	}
}

// callbackAfter returns the place of the first callback with an id above the given one.
func (a *Arena) callbackAfter(id uint64) (i int, found bool) {
	i, _ = slices.BinarySearchFunc(a.onReset, id+1, func(c callback, id uint64) int { return cmp.Compare(c.id, id) })
	return i, i < len(a.onReset)
}

// compact removes the entries of cancelled callbacks once they are the most.
func (a *Arena) compact() {
	if a.cancelled > len(a.onReset)/2 {
		a.onReset = slices.DeleteFunc(a.onReset, func(c callback) bool { return c.f == nil })
		a.cancelled = 0
	}
}

// unwind runs the callbacks that were registered after the one with the given id, then done. Those
// that are registered meanwhile stay for the next time.
func (a *Arena) unwind(op string, after uint64, done func()) {
	if a.reset {
		panic(a.violation(op, guard.InUse, "called by an OnReset callback"))
	}
	keep, found := a.callbackAfter(after)
	if !found {
		done()
		return
	}
	n := len(a.onReset)
	a.reset, a.uncalled = true, n
	defer func() {
		a.reset = false
		for _, c := range a.onReset[keep:n] {
			if c.f == nil {
				a.cancelled--
			}
		}
		a.onReset = slices.Delete(a.onReset, keep, n)
		a.compact()
		done()
	}()
	a.callDown(keep)
}

// callDown runs the callbacks from the last uncalled one down to keep.
func (a *Arena) callDown(keep int) {
	for a.uncalled > keep {
		a.uncalled--
		f := a.onReset[a.uncalled].f
		if f == nil {
			continue // cancelled
		}
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
