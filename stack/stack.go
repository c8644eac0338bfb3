package stack

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// Stack is a stack of a Pool: memory that is handed out from its top downwards, and taken back in
// the opposite order. It is for one goroutine at a time, from Pool.Get to Pool.Put. Use of the zero
// Stack is a *guard.Violation. A Stack must not be copied.
//
// It lies outside the Go heap, apart from the memory that it hands out, alone on its cache line.
// Places in that memory are kept as distances from the Stack itself.
type Stack struct {
	_    nocopy.NoCopy
	head header.Header // first: package native finds it at the address of the Stack

	// Invariants: floor ≤ head.Limit ≤ head.Top ≤ end, where [floor, end) is the stack's memory; lowest
	// is the lowest that head.Top was since the last Put, but for what head.Top says now.
	lowest uintptr

	frame  uint32 // the innermost that is open, or what it was when none was
	serial uint32 // of the last frame pushed

	clean   uint32 // bytes below end that are zero, while the stack is idle
	deepest uint32 // bytes below end that were ever used, but for what lowest says
	held    uint32 // of those, what may be in RAM: see tidy

	_     [4 * (8 - unsafe.Sizeof(uintptr(0)))]byte
	shape uint32 // its number
}

// stackSize is a cache line, so that stacks of two processors do not share one.
const stackSize = 64

var (
	_ = [1]struct{}{}[unsafe.Sizeof(Stack{})-stackSize]
	_ = [1]struct{}{}[unsafe.Offsetof(Stack{}.head)]
)

// at returns a place in the stack's memory.
func (s *Stack) at(place uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(s), place) }

// usable panics unless the stack was got and not put since. op is the call, with its package.
func (s *Stack) usable(op string) { s.head.CheckUsable(op) }

// Size returns the bytes that the stack can hold, those in use included.
func (s *Stack) Size() int {
	s.usable("stack.Size")
	return int(s.shapeOf().size)
}

// Used returns the bytes in use.
func (s *Stack) Used() int {
	s.usable("stack.Used")
	return int(s.shapeOf().end(s) - s.head.Top)
}

// HighWater returns the most bytes that were ever in use, by whoever had the stack. What native code
// used is known to the OS page, and as far as it is in RAM; to find that takes a system call, and
// touches nothing. Native code that runs meanwhile is not waited for.
func (s *Stack) HighWater() int {
	s.usable("stack.HighWater")
	return s.highWater()
}

func (s *Stack) highWater() int {
	sh := s.shapeOf()
	end := sh.end(s)
	deep := max(uintptr(atomic.LoadUint32(&s.deepest)), end-atomic.LoadUintptr(&s.lowest), end-atomic.LoadUintptr(&s.head.Top))
	if s.head.Native {
		in, _ := sh.resident(s)
		deep = max(deep, in)
	}
	return int(deep)
}

// Frame is a place in a stack, to which Pop goes back.
type Frame struct {
	stack         *Stack
	top           uintptr
	serial, outer uint32
}

// Push opens a frame: what is allocated from now on is freed by Pop.
func (s *Stack) Push() Frame { return push(s, (*Stack).usable) }

// push is Push with its slow path as a parameter, for the inliner: see arena.bump, which says why.
// Serials may come round to 0, which is one like the others.
func push(s *Stack, usable func(s *Stack, op string)) Frame {
	if s.head.State != header.StateUsed {
		usable(s, "stack.Push")
	}
	f := Frame{s, s.head.Top, s.serial + 1, s.frame}
	s.serial, s.frame = f.serial, f.serial
	return f
}

// eager is how many bytes Pop clears at once. More than that is cleared ahead of its next use, as
// far as it is used.
const eager = 32 << 10

// Pop closes a frame and frees what was allocated since its Push. It must be the innermost one that
// is open: another one, one that was closed already, and that of another stack are a
// *guard.Violation; then nothing has changed. A frame that was kept over exactly 2^32 others may pass.
//
// Cost: what it takes to clear the memory.
func (s *Stack) Pop(f Frame) {
	if f.stack != s || f.serial != s.frame {
		s.refuse(f)
	}
	s.frame = f.outer
	s.free(f.top)
	if invariant.Enabled {
		s.check()
	}
}

// refuse says what is wrong with a frame. The innermost of a stack that was put is none of its
// frames: Put sees to that.
func (s *Stack) refuse(f Frame) {
	s.usable("stack.Pop")
	if f.stack != s {
		panic(s.head.Violation("stack.Pop", "frame of another stack"))
	}
	panic(s.head.Violation("stack.Pop", "frame that is not the innermost open one"))
}

// free takes back what lies below to.
func (s *Stack) free(to uintptr) {
	top := s.head.Top
	s.head.Top = to
	if top == to {
		return
	}
	if top < s.lowest {
		s.lowest = top
	}
	if n := to - top; n <= eager {
		clear(unsafe.Slice((*byte)(s.at(top)), n))
	} else {
		s.head.Limit = to
	}
}

// clearStep is how far ahead dirty memory is cleared, at least.
const clearStep = 512

// reach makes limit low enough for size bytes below top, or says why it cannot be.
func (s *Stack) reach(size uintptr) error {
	sh := s.shapeOf()
	floor := sh.end(s) - sh.size
	if size > s.head.Top-floor {
		return fmt.Errorf("stack: %q: %d bytes do not fit, %d of %d are in use: %w", sh.name, size, sh.end(s)-s.head.Top, sh.size, ErrOverflow)
	}
	if to := s.head.Top - size; to < s.head.Limit {
		to = max(floor, min(to, s.head.Limit-min(s.head.Limit, clearStep)))
		clear(unsafe.Slice((*byte)(s.at(to)), s.head.Limit-to))
		s.head.Limit = to
	}
	if invariant.Enabled {
		s.check()
	}
	return nil
}
