package slab

import (
	"cmp"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
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
	n     uint32 // slots in it
	most  uint32 // of the class
	size  uint32 // of the class
	_     uint32
	items [fullMagazine]item
	_     [48]byte
}

// open makes a front ready whose magazines hold no more than most.
func (f *front) open(most uint32) *front {
	for c := range f.magazines {
		f.magazines[c].most, f.magazines[c].size = min(classes[c].most, most), classes[c].size
	}
	return f
}

// fronts are those of the processors.
type fronts struct {
	of   [mostProcessors + 1]atomic.Pointer[front] // the last is nil: see enter
	most uint32                                    // slots that each of their magazines may hold
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
		fs.of[pid].CompareAndSwap(nil, new(front).open(fs.most))
	}
	return fs.enter() // nil, if the goroutine has moved to another processor by now that has none
}

func (f *front) magazine(c uint8) *magazine { return &f.magazines[c%mostClasses] }

// top is the slot that goes next. ok is false if there is none.
func (m *magazine) top() (it item, ok bool) {
	n := m.n - 1
	if n >= fullMagazine { // there was none
		return it, false
	}
	return m.items[n], true
}

// pop takes the slot that goes next. ok is false if there is none.
func (m *magazine) pop() (it item, ok bool) {
	if it, ok = m.top(); ok {
		m.n--
	}
	return it, ok
}

// push puts a slot into a magazine, if it is not full.
func (m *magazine) push(it item) bool {
	n := m.n
	if n >= m.most {
		return false
	}
	m.items[n%fullMagazine] = it // most is no more
	m.n = n + 1
	return true
}

// exchange pushes a slot. If the magazine is full it moves the older half out first, and returns
// how many that are.
func (m *magazine) exchange(it item, out []item) (n int) {
	if m.push(it) {
		return 0
	}
	n = copy(out, m.items[:m.most/2])
	m.n = uint32(copy(m.items[:], m.items[n:m.most]))
	m.push(it)
	return n
}

// stock puts as many slots into a magazine as it takes, and returns how many these are.
func (m *magazine) stock(items []item) (n int) {
	n = copy(m.items[m.n:m.most], items)
	m.n += uint32(n)
	return n
}

// empty brings home all that a front holds, which nobody uses any more.
func (h *Heap) empty(f *front) (bad *guard.Violation) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for c := range f.magazines {
		m := f.magazine(uint8(c))
		if m.n == 0 {
			continue
		}
		d := &h.depots[c]
		d.mu.Lock()
		bad = cmp.Or(bad, h.bringHome(uint8(c), d, m.items[:m.n]))
		d.mu.Unlock()
		m.n = 0
	}
	return bad
}
