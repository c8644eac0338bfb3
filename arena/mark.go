package arena

import "github.com/seed-9a6c551e/offheap/guard"

// Mark is a place in an arena, for Rewind. It is valid until the arena is reset or closed, or rewound to an
// earlier Mark. If nothing was allocated and no callback registered between two Marks, they are the same place,
// and neither is earlier. The zero Mark belongs to no arena.
type Mark struct {
	// Four fields: the compiler keeps no larger struct in registers, and with a fifth one Mark and Rewind take half
	// as long again.
	arena *Arena
	epoch uint64
	off   uintptr
	rest  uint64 // times granule the callbacks that were ever registered, plus the padding below off
}

// registered returns how many callbacks had ever been registered.
func (m Mark) registered() uint64 { return m.rest / granule }

// tail returns where the last object ended.
func (m Mark) tail() uintptr { return m.off - uintptr(m.rest%granule) }

// Mark returns the place of the next allocation.
func (a *Arena) Mark() Mark {
	a.usable("Mark")
	padding := a.top - a.tail
	if padding >= granule { // where the last object ended is not known
		padding = 0
	}
	return Mark{a, a.epoch, a.top, a.registered*granule + uint64(padding)}
}

// Rewind frees everything that was allocated since m was taken. Before that it calls the OnReset callbacks that
// were registered since. An arena may be rewound to a Mark several times.
//
// A Mark of another arena is a *guard.Violation, and so is a Mark that is no longer valid. The arena remembers
// 16 rewinds: an invalid Mark may go unnoticed if more than 16 later rewinds went to places above it.
func (a *Arena) Rewind(m Mark) {
	a.usable("Rewind")
	switch {
	case m.arena != a:
		panic(a.violation("Rewind", guard.WrongOwner, "mark of another arena"))
	case m.epoch != a.epoch && a.rewinds.stale(m):
		panic(a.violation("Rewind", guard.UseAfterReset, "stale mark: the arena was reset, or rewound to an earlier one"))
	}
	if n := len(a.onReset); n > 0 && a.onReset[n-1].id > m.registered() || a.inCallbacks {
		a.unwind("Rewind", m.registered(), func() { a.rewind(m) })
		return
	}
	a.rewind(m)
}

func (a *Arena) rewind(m Mark) {
	a.free(m.off)
	a.tail = m.tail()
	a.epoch++
	a.rewinds.push(a.epoch, m.off, m.registered())
}

// rewinds remembers the places that the arena was rewound to. A mark is stale if the arena was rewound below
// it after it was taken.
//
// Invariant: entries are sorted by epoch, and at the same time by offset and number of callbacks. A rewind
// replaces all entries that are not below it: it is later and lower.
type rewinds struct {
	since uint64 // epoch of the last reset
	n     int
	at    [16]struct {
		epoch      uint64
		off        uintptr
		registered uint64
	}
}

func (r *rewinds) push(epoch uint64, off uintptr, registered uint64) {
	for r.n > 0 && r.at[r.n-1].off >= off && r.at[r.n-1].registered >= registered {
		r.n--
	}
	if r.n == len(r.at) {
		copy(r.at[:], r.at[1:])
		r.n--
	}
	e := &r.at[r.n]
	e.epoch, e.off, e.registered = epoch, off, registered
	r.n++
}

func (r *rewinds) stale(m Mark) bool {
	if m.epoch < r.since {
		return true
	}
	for _, e := range r.at[:r.n] {
		if e.epoch > m.epoch {
			// The first since the mark went lowest. Between two marks there may be a callback and
			// no memory.
			return e.off < m.off || e.registered < m.registered()
		}
	}
	return false
}
