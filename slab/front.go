package slab

import (
	"cmp"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
	"github.com/seed-9a6c551e/offheap/internal/sampling"
)

// fullMagazine is the most slots that a magazine holds; those of large slots hold fewer, see
// class.most.
const fullMagazine = 128

// mostClasses is a power of two, so that c%mostClasses needs no check.
const mostClasses = 128

// front is what one processor, or one Local, allocates from and frees to without a lock.
type front struct {
	lock      procpin.Lock
	_         [128]byte // its neighbours on the Go heap are others' to write
	magazines [mostClasses]magazine
	_         [128]byte
}

// magazine is a stack of cached slots of one class. It is not a multiple of 4096 bytes by far, so
// that the tops of several lie in different sets of the cache.
type magazine struct {
	n      uint64 // slots in it, and passing for each that may be popped until an allocation is due
	most   uint32 // of the class
	size   uint32 // of the class
	sample bool   // what is due is to be sampled, not only to be drawn anew
	_      [7]byte
	items  [fullMagazine]item
	_      [48]byte
}

// passing is what is taken from magazine.n with each slot: the allocations that pass before one is
// due are counted in the same word as the slots, so counting them costs nothing.
const passing = 1 << 32

// open makes a front ready.
func (f *front) open() *front {
	for c := range f.magazines {
		m := &f.magazines[c]
		m.most, m.size = classes[c].most, classes[c].size
		m.draw()
	}
	return f
}

// fronts are those of the processors.
type fronts struct {
	of   [mostProcessors + 1]atomic.Pointer[front] // the last is nil: see enter
	shut atomic.Bool                               // the heap is closed: there are no more fronts
}

// enterNew is enter that makes the front, if it can.
func (fs *fronts) enterNew() *front {
	f := fs.enter()
	if f != nil {
		return f
	}
	fs.leave(f)
	pid := procpin.Pin()
	procpin.Unpin()
	if pid < mostProcessors {
		fs.of[pid].CompareAndSwap(nil, new(front).open())
		if fs.shut.Load() {
			fs.of[pid].Store(nil)
		}
	}
	return fs.enter() // nil, if the goroutine has moved to another processor by now that has none
}

func (f *front) magazine(c uint8) *magazine { return &f.magazines[c%mostClasses] }

// len is how many slots are in it.
func (m *magazine) len() uint32 { return uint32(m.n) }

// top is the slot that goes next, and what m.n is without it. ok is false if there is none, or an
// allocation is due.
func (m *magazine) top() (it item, rest uint64, ok bool) {
	rest = m.n - passing - 1
	n := uint32(rest)
	if n >= fullMagazine || int64(rest) < 0 { // there was none, or none may pass
		return it, 0, false
	}
	return m.items[n], rest, true
}

// pop takes the slot that goes next. ok is false if there is none, or an allocation is due.
func (m *magazine) pop() (it item, ok bool) {
	it, rest, ok := m.top()
	if ok {
		m.n = rest
	}
	return it, ok
}

// popDue is pop of what is no more due.
func (m *magazine) popDue() (it item, ok bool) {
	if m.len() == 0 {
		return it, false
	}
	m.n--
	return m.items[m.len()%fullMagazine], true
}

// due counts an allocation that top had no slot for, and tells whether it is to be sampled.
func (m *magazine) due() bool {
	if m.n >= passing {
		m.n -= passing
		return false
	}
	sample := m.sample
	m.draw()
	return sample
}

func (m *magazine) draw() {
	pass, sample := sampling.Draw()
	m.n, m.sample = uint64(m.len())+uint64(pass)*passing, sample
}

// push puts a slot into a magazine, if it is not full.
func (m *magazine) push(it item) bool {
	n := m.len()
	if n >= m.most {
		return false
	}
	m.items[n%fullMagazine] = it // most is no more
	m.n++
	return true
}

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are.
func (m *magazine) exchange(it item, out []item) (n int) {
	if m.push(it) {
		return 0
	}
	n = copy(out, m.items[:m.most/2])
	copy(m.items[:], m.items[n:m.most])
	m.n -= uint64(n)
	m.push(it)
	return n
}

// stock puts as many slots into a magazine as it takes, and returns how many these are.
func (m *magazine) stock(items []item) (n int) {
	n = copy(m.items[m.len():m.most], items)
	m.n += uint64(n)
	return n
}

// empty brings home all that a front holds, which nobody uses any more.
func (h *Heap) empty(f *front) (bad *guard.Violation) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for c := range f.magazines {
		m := f.magazine(uint8(c))
		if m.len() == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		if !h.closed.Load() {
			bad = cmp.Or(bad, h.bringHome(uint8(c), d, m.items[:m.len()]))
		}
		d.mu.Unlock()
		m.n -= uint64(m.len())
		h.note()
	}
	return bad
}
