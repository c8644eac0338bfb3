package stack

import (
	"runtime"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// frontSize is the most idle stacks that a processor keeps to itself. What these have in RAM beyond
// Config.Retain is not given back at once, so they are few.
const frontSize = 8

// front is what one processor gets stacks from and puts them to without a lock: the last in is the
// first out. Its neighbours are others' to write.
type front struct {
	lock   procpin.Lock
	n      uint32
	stacks [frontSize]uint32
	_      [128]byte
}

func newFronts() *[]front {
	all := make([]front, max(runtime.GOMAXPROCS(0), runtime.NumCPU()))
	return &all
}

// push puts a stack in, if there is room.
func (f *front) push(i uint32) bool {
	n := f.n
	if n >= frontSize {
		return false
	}
	f.stacks[n] = i
	f.n = n + 1
	return true
}

// pop takes the stack out that was put in last; false if there is none.
func (f *front) pop() (i uint32, ok bool) {
	n := f.n - 1
	if n >= frontSize {
		return 0, false
	}
	f.n = n
	return f.stacks[n], true
}

// exchange pushes a stack. If there is no room it moves the older half out first, and returns how
// many that are.
func (f *front) exchange(i uint32, out *[frontSize / 2]uint32) (n int) {
	if f.push(i) {
		return 0
	}
	n = copy(out[:], f.stacks[:])
	f.n = uint32(copy(f.stacks[:], f.stacks[n:]))
	f.push(i)
	return n
}

// frontsHold tells whether there are idle stacks in fronts. p.mu is held, and the pool is open.
func (p *Pool) frontsHold() bool {
	all := p.fronts.Load()
	n := uint32(0)
	for i := range *all {
		f := &(*all)[i]
		f.lock.Lock()
		n += atomic.LoadUint32(&f.n)
		f.lock.Unlock()
	}
	return n > 0
}

// takeFronts takes the idle stacks that processors have, and gives processors other fronts, or none.
// It stops the world for some microseconds. p.mu is held.
func (p *Pool) takeFronts(others *[]front) {
	all := p.fronts.Swap(others)
	if all == nil {
		return
	}
	// A goroutine may have found its front just before. It is pinned while it uses it, and the
	// world does not stop before it has let go.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for i := range *all {
		f := &(*all)[i]
		f.lock.Lock()
		p.idle = append(p.idle, f.stacks[:f.n]...)
		f.n = 0
		f.lock.Unlock()
	}
}
