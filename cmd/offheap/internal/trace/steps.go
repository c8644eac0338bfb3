package trace

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
)

// action says what a step does.
type action uint8

const (
	free action = iota
	allocate
	allocateZeroed
	resize
	freeEmpty // frees an object of no bytes
	end       // follows the last step
)

// step is an operation of a trace in the form in which it is replayed on one goroutine: 24 bytes, as in
// bench/c/replay.c.
type step struct {
	size   int // 0 of free
	object uint32
	extra  uint32 // of allocateZeroed the alignment; of resize the index in resized
	do     action
}

// next returns the step behind s in the list, which is not its end.
func (s *step) next() *step { return (*step)(unsafe.Add(unsafe.Pointer(s), unsafe.Sizeof(*s))) }

// steps are all operations of a trace. Their loop, throughHeap in steps_heap.go, has copies for other
// allocators in steps_others.go: see package copies.
type steps struct {
	all     []step // the last is an end
	resized []int  // sizes before a resize
}

// steps returns the operations of a trace but for the ends of threads.
func (t *Trace) steps() (s steps) {
	s.all = make([]step, 0, len(t.Ops)+1)
	for i := range t.Ops {
		op := &t.Ops[i]
		next := step{size: op.Size, object: op.Object}
		switch {
		case op.Code == 'x':
			continue
		case op.Code == 'f' && op.Was == 0:
			next.do, next.size = freeEmpty, 0
		case op.Code == 'f':
			next.do, next.size = free, 0
		case op.Code == 'r':
			next.do, next.extra = resize, uint32(len(s.resized))
			s.resized = append(s.resized, op.Was)
		case op.zeroed():
			next.do, next.extra = allocateZeroed, uint32(max(op.Align, allocators.Align))
		default:
			next.do = allocate
		}
		s.all = append(s.all, next)
	}
	s.all = append(s.all, step{do: end})
	return s
}

// nothing has the calls of a heap, and does nothing: each object is the same one. What a replay with it
// takes is the harness's own time.
type nothing struct{ object []byte }

// newNothing returns a nothing whose object is as large as the largest.
func (s *steps) newNothing() *nothing {
	largest := 0
	for i := range s.all {
		largest = max(largest, s.all[i].size)
	}
	return &nothing{make([]byte, largest)}
}

//go:noinline
func (n *nothing) TryAllocDirty(size, _ int) ([]byte, error) { return n.object[:size], nil }

//go:noinline
func (n *nothing) TryAlloc(size, _ int) ([]byte, error) { return n.object[:size], nil }

//go:noinline
func (n *nothing) TryRealloc(_ []byte, size int) ([]byte, error) { return n.object[:size], nil }

//go:noinline
func (n *nothing) Free([]byte) {}
