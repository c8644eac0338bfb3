package stack

import (
	"runtime"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/procpin"
)

// frontSize is the most idle stacks that a processor keeps to itself. What these have in RAM beyond
// Config.Retain is not given back at once, so they are few.
const frontSize = 8

// maxProcessors bounds the processors that have a front. The others share the store under p.mu.
const maxProcessors = 1024

// front is the per-processor cache: its processor gets stacks from it and puts them to it without a
// lock; the last in is the first out. The padding keeps what other processors write, on either side,
// off its cache lines.
type front struct {
	_      [128]byte
	lock   procpin.Lock
	n      uint32
	stacks [frontSize]uint32
	_      [128]byte
}

// fronts has the front of each processor, nil until the processor needs it: there may be more
// processors later (runtime.GOMAXPROCS). The last entry is nil for ever: see enter.
type fronts [maxProcessors + 1]atomic.Pointer[front]

// enterNew is enter that makes the front first where there is none. It returns nil beyond
// maxProcessors, when the pool is not open, and if the goroutine has moved meanwhile to another
// processor without a front.
func (p *Pool) enterNew() *front {
	f := p.enter()
	if f != nil {
		return f
	}
	p.leave(f)
	p.addFront()
	return p.enter()
}

// addFront gives the processor a front. The lock keeps it out of a pool that is being closed.
func (p *Pool) addFront() {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := procpin.Pin()
	procpin.Unpin()
	if p.state == open && pid < maxProcessors {
		p.fronts[pid].CompareAndSwap(nil, new(front))
	}
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

// frontsHold tells whether there are idle stacks in fronts. Caller holds p.mu.
func (p *Pool) frontsHold() bool {
	n := uint32(0)
	for i := range p.fronts {
		if f := p.fronts[i].Load(); f != nil {
			f.lock.Lock()
			n += atomic.LoadUint32(&f.n)
			f.lock.Unlock()
		}
	}
	return n > 0
}

// takeFronts takes all fronts away and moves their stacks to p.idle. It stops the world for some
// microseconds. Caller holds p.mu.
func (p *Pool) takeFronts() {
	var taken []*front
	for i := range p.fronts {
		if p.fronts[i].Load() != nil { // no other goroutine changes what is not nil
			taken = append(taken, p.fronts[i].Swap(nil))
		}
	}
	if len(taken) == 0 {
		return
	}
	// A goroutine may have found its front just before. It is pinned while it uses it, and the
	// world does not stop before it has let go.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for _, f := range taken {
		f.lock.Lock()
		p.idle = append(p.idle, f.stacks[:f.n]...)
		f.n = 0
		f.lock.Unlock()
	}
}
