package region

import (
	"sync/atomic"
	"weak"
)

// counter tells how much of a region its owner has handed out and not taken back.
type counter func() (objects int, bytes int64, ok bool)

// owner is what regions belong to that were mapped for one thing: a heap has several.
type owner struct {
	name   string    // of its first region
	stack  []uintptr // of who called Reserve for that
	number uint64    // owners are numbered as they come, from 1
}

var owners atomic.Uint64 // numbered so far

// use is what counters told.
type use struct {
	objects int
	bytes   int64
}

func (u use) more(than use) bool { return u.objects > than.objects || u.bytes > than.bytes }

func (u *use) add(v use) {
	u.objects += v.objects
	u.bytes += v.bytes
}

// CountLive is for allocators built on the region: count tells how many objects and bytes they have
// handed out and not taken back, for Regions, Usage and CheckLeaks. objects is 0 where the allocator
// does not know. If ok is false what it told before holds.
//
// Any goroutine may call count, at any time until Close, and also inside Budget.OnSoft: so it must
// not wait for a lock under which memory is committed, nor commit any. It may hold on to the region
// and its allocator: what becomes unreachable without Close is noticed all the same.
func (r *Region) CountLive(count func() (objects int, bytes int64, ok bool)) {
	c := counter(count)
	rec := r.rec
	r.count = &c
	rec.mu.Lock()
	rec.count = weak.Make(r.count)
	rec.mu.Unlock()
}

// use asks the owner, if there is one who tells, and is reachable. rec.mu is not held: the owner may
// hold locks under which the region's methods are called.
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
	if ok && r.state == open {
		r.told = use{objects, bytes}
	}
	return r.told
}
