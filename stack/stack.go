package stack

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
)

// Stack is a stack of a Pool: it hands out memory from its top downwards, and takes it back in the
// opposite order. One goroutine at a time may use it, from Pool.Get to Pool.Put. A Stack must not be
// copied.
//
// Any use of the zero Stack is a *guard.Violation, and so is any use of a nil *Stack; only in New, Push, Pop
// and the calls of package native is nil Go's own nil pointer panic.
//
// A Stack is a record outside the Go heap, alone on its cache line and apart from the memory that it hands out.
type Stack struct {
	_    nocopy.NoCopy
	head header.Header // first: package native finds it at the address of the Stack

	// Invariant: floor ≤ head.Limit ≤ head.Top ≤ end, where [floor, end) is the stack's memory.

	lowest uintptr // lowest place that head.Top had before a Pop or Put, since the last noteDepth

	frame  uint32 // serial number of the innermost open frame; if none is open, a number that no frame has
	serial uint32 // serial number of the last frame that was pushed

	clean   uint32 // bytes below end that are zero, while the stack is idle
	deepest uint32 // the most bytes below end that were ever used, as far as noteDepth knows
	held    uint32 // bytes below end that may be in RAM after deep use; 0 when they were given back

	_      [4 * (8 - unsafe.Sizeof(uintptr(0)))]byte
	layout uint32 // number of its pool's layout
}

// stackSize is a cache line, so that stacks of two processors do not share one.
const stackSize = 64

var (
	_ = [1]struct{}{}[unsafe.Sizeof(Stack{})-stackSize]
	_ = [1]struct{}{}[unsafe.Offsetof(Stack{}.head)]
)

// at returns the address of a place in the stack's memory.
func (s *Stack) at(place uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(s), place) }

// usable panics unless the stack is in use. op is the call, with its package.
func (s *Stack) usable(op string) { (*header.Header)(unsafe.Pointer(s)).CheckUsable(op) } // s may be nil

// Size returns the size of the stack in bytes, free or in use: Config.Size, rounded up to OS pages.
func (s *Stack) Size() int {
	s.usable("stack.Size")
	return int(s.layoutOf().size)
}

// Used returns the bytes in use, from the top to the end of the stack.
func (s *Stack) Used() int {
	s.usable("stack.Used")
	return int(s.layoutOf().end(s) - s.head.Top)
}

// HighWater returns the most bytes that were ever in use, earlier users of the stack included. Native code
// counts by the deepest OS page that is in RAM. If native code ran since the last look, HighWater makes a
// system call to find that page; it touches no memory of the stack.
func (s *Stack) HighWater() int {
	s.usable("stack.HighWater")
	return s.highWater()
}

func (s *Stack) highWater() int {
	l := s.layoutOf()
	end := l.end(s)
	deep := max(uintptr(atomic.LoadUint32(&s.deepest)), end-atomic.LoadUintptr(&s.lowest), end-atomic.LoadUintptr(&s.head.Top))
	if s.head.Native {
		in, _ := l.resident(s)
		deep = max(deep, in)
	}
	return int(deep)
}

// Frame is an open frame of a Stack: Push returns it, and Pop takes it. The zero Frame belongs to no stack.
type Frame struct {
	stack         *Stack
	top           uintptr
	serial, outer uint32
}

// Push opens a frame. The Pop of this frame frees everything that was allocated on the stack since. Push
// itself allocates nothing. Frames that are never popped end with Put.
//
// Cost: inlined, five loads and stores, one comparison.
func (s *Stack) Push() Frame { return push(s, (*Stack).usable) }

// push is Push with its slow path as a parameter, for the inliner: arena.bump says why. Serial numbers
// wrap around; 0 is a number like the others.
func push(s *Stack, usable func(s *Stack, op string)) Frame {
	if s.head.State != header.StateUsed {
		usable(s, "stack.Push")
	}
	f := Frame{s, s.head.Top, s.serial + 1, s.frame}
	s.serial, s.frame = f.serial, f.serial
	return f
}

// clearAtOnce is the largest frame that Pop clears, in bytes. The memory of a larger frame stays dirty, and
// makeRoom clears as much of it as is used again.
const clearAtOnce = 32 << 10

// Pop closes a frame and frees everything that was allocated since its Push. The frame must be the
// innermost open one of this stack; else Pop changes nothing and panics with a *guard.Violation. The
// check misses one case: a closed frame whose number was given to another frame, after exactly 2^32 more
// calls of Push.
//
// Cost: the time to clear the memory, if it is at most 32 KiB.
func (s *Stack) Pop(f Frame) {
	if f.stack != s || f.serial != s.frame {
		s.refuse(f)
	}
	s.frame = f.outer
	s.freeTo(f.top)
	if invariant.Enabled {
		s.checkInvariants()
	}
}

// refuse panics, and says what is wrong with the frame. A stack that was put has no open frame, because
// Put changes s.frame.
func (s *Stack) refuse(f Frame) {
	s.usable("stack.Pop")
	if f.stack != s {
		panic(s.head.Violation("stack.Pop", guard.WrongOwner, "frame of another stack"))
	}
	panic(s.head.Violation("stack.Pop", guard.OutOfOrder, "frame that is not the innermost open one"))
}

// freeTo moves the top up to a place, and clears the memory below it or leaves it dirty.
func (s *Stack) freeTo(to uintptr) {
	top := s.head.Top
	s.head.Top = to
	if top == to {
		return
	}
	if top < s.lowest {
		s.lowest = top
	}
	if n := to - top; n <= clearAtOnce {
		clear(unsafe.Slice((*byte)(s.at(top)), n))
	} else {
		s.head.Limit = to
	}
}

// clearStep is the least number of bytes that makeRoom clears at a time.
const clearStep = 512

// makeRoom lowers the limit, so that size bytes below the top are zero and can be handed out. It returns an
// error if the stack has no room for them.
func (s *Stack) makeRoom(size uintptr) error {
	l := s.layoutOf()
	floor := l.end(s) - l.size
	if size > s.head.Top-floor {
		return fmt.Errorf("stack: %q: %d bytes do not fit, %d of %d are in use: %w", l.name, size, l.end(s)-s.head.Top, l.size, ErrOverflow)
	}
	if to := s.head.Top - size; to < s.head.Limit {
		to = max(floor, min(to, s.head.Limit-min(s.head.Limit, clearStep)))
		clear(unsafe.Slice((*byte)(s.at(to)), s.head.Limit-to))
		s.head.Limit = to
	}
	if invariant.Enabled {
		s.checkInvariants()
	}
	return nil
}
