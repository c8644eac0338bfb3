package arena

import (
	"cmp"
	"slices"

	"github.com/seed-9a6c551e/offheap/guard"
)

// callbacks are the functions to be called before the arena's memory is freed.
type callbacks struct {
	onReset    []callback // in the order of registration
	registered uint64     // how many there ever were: the id of the last
	cancelled  int        // entries of onReset that were cancelled
	uncalled   int        // while callbacks are called: how many of onReset are to come, the first ones
}

// callback is a registered function; f is nil if it was cancelled.
type callback struct {
	f  func()
	id uint64
}

// OnReset registers f. It is called once, before memory that was allocated after this call is freed: by Reset,
// Close, Pool.Put, or Rewind to a Mark that was taken before this call. Callbacks are called in reverse order
// of registration, all of them even if one panics. A nil f is a *guard.Violation.
//
// f may use the arena and its objects, but not reset, rewind or close it. f may register callbacks, itself for
// example: the next Reset, Put or Rewind of that kind calls them. Callbacks that are registered during Close
// are never called, unless Close fails.
//
// cancel removes f. It does nothing if f was called or cancelled before.
//
// Cost: 16 bytes of the Go heap until f is called or cancelled; 24 more for cancel, if it is used.
func (a *Arena) OnReset(f func()) (cancel func()) {
	return a.register(f).cancel
}

// register registers a callback. It is a function of its own so that OnReset is inlined: then cancel costs
// nothing if it is not used.
func (a *Arena) register(f func()) registration {
	a.usable("OnReset")
	if f == nil {
		panic(a.violation("OnReset", guard.InvalidArgument, "nil function"))
	}
	a.registered++
	a.onReset = append(a.onReset, callback{f, a.registered})
	return registration{a, a.registered}
}

// registration names a callback.
type registration struct {
	arena *Arena
	id    uint64
}

// cancel removes the callback.
func (r registration) cancel() { r.arena.cancel(r.id) }

// cancel removes the callback with an id, if it is still registered.
func (a *Arena) cancel(id uint64) {
	i, found := a.callbackAfter(id - 1)
	if !found || a.onReset[i].id != id || a.onReset[i].f == nil {
		return
	}
	a.onReset[i].f = nil
	a.cancelled++
	if !a.inCallbacks { // callDown keeps an index
		a.compact()
	}
}

// callbackAfter returns the index of the first callback with an id above the given one.
func (a *Arena) callbackAfter(id uint64) (i int, found bool) {
	i, _ = slices.BinarySearchFunc(a.onReset, id+1, func(c callback, id uint64) int { return cmp.Compare(c.id, id) })
	return i, i < len(a.onReset)
}

// compact removes the entries of cancelled callbacks if they are more than half.
func (a *Arena) compact() {
	if a.cancelled > len(a.onReset)/2 {
		a.onReset = slices.DeleteFunc(a.onReset, func(c callback) bool { return c.f == nil })
		a.cancelled = 0
	}
}

// unwind calls the callbacks that were registered after the one with the given id, then done. Callbacks that
// are registered meanwhile stay for the next time.
func (a *Arena) unwind(op string, after uint64, done func()) {
	if a.inCallbacks {
		panic(a.violation(op, guard.InUse, "called by an OnReset callback"))
	}
	keep, found := a.callbackAfter(after)
	if !found {
		done()
		return
	}
	n := len(a.onReset)
	a.inCallbacks, a.uncalled = true, n
	defer func() {
		a.inCallbacks = false
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

// callDown calls the callbacks from the last uncalled one down to index keep.
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
					a.callDown(keep) // the others are called before the panic goes on
				}
			}()
			f()
			panicked = false
		}()
	}
}
