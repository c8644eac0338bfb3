package region

import (
	"sync/atomic"
	"weak"
)

// counter returns how much of a region its allocator has handed out and not taken back: see CountLive.
type counter func() (objects int, bytes int64, ok bool)

// owner stands for the regions of one arena, heap or pool: a heap has several (Config.PartOf).
type owner struct {
	name   string    // of its first region
	stack  []uintptr // of the call that reserved the first
	number uint64    // in the order of their first regions, from 1
}

// owners counts the owners so far: it is the number of the latest.
var owners atomic.Uint64 // numbered so far

// use is the figures that a counter returned.
type use struct {
	objects int
	bytes   int64
}

// more tells whether there are more objects or more bytes than before.
func (u use) more(than use) bool { return u.objects > than.objects || u.bytes > than.bytes }

// add adds the figures of another region of the owner.
func (u *use) add(v use) {
	u.objects += v.objects
	u.bytes += v.bytes
}

// CountLive is for allocators built on the region: count returns how many objects and bytes they have handed out and not
// taken back, for Regions, Usage and WatchLeaks. objects is 0 where the allocator does not know. If ok is false, the
// figures of the last call hold.
//
// Any goroutine may call count, at any time until Close, and also inside Budget.OnSoft: so count must not wait for a
// lock under which memory is committed, nor commit memory. It may refer to the region and its allocator: they are
// noticed all the same when they become unreachable without Close.
func (r *Region) CountLive(count func() (objects int, bytes int64, ok bool)) {
	c := counter(count)
	rec := r.rec
	r.count = &c
	rec.mu.Lock()
	rec.count = weak.Make(r.count)
	rec.mu.Unlock()
}

// use calls the counter of the allocator, if there is one and it is reachable; else it returns the last figures. Caller
// does not hold rec.mu: the counter may take locks under which the region's methods are called.
func (r *record) use() use {
	r.mu.Lock()
	count, u := r.count.Value(), r.told
	r.mu.Unlock()
	if count == nil {
		return u
	}
	objects, bytes, ok := (*count)()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok && r.state == stateOpen {
		r.told = use{objects, bytes}
	}
	return r.told
}
