package stack

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/trap"
)

// Stack is a stack of a Pool: memory that is handed out from its top downwards, and taken back in
// the opposite order. It is for one goroutine at a time, from Pool.Get to Pool.Put. Use of the zero
// Stack is a *guard.Violation. A Stack must not be copied.
//
// It lies outside the Go heap, apart from the memory that it hands out, alone on its cache line.
// Places in that memory are kept as distances from the Stack itself.
type Stack struct {
	_ nocopy.NoCopy

	// Invariants: floor ≤ limit ≤ top ≤ end, where [floor, end) is the stack's memory; the bytes of
	// [limit, top) are zero; limit is top, which sends every call to the slow path, while the stack
	// is idle; lowest is the lowest that top was since the last Put, but for what top says now.
	top    uintptr
	limit  uintptr
	lowest uintptr

	block trap.Block // not zero while native code runs here

	frame  uint32 // the innermost that is open, or what it was when none was
	serial uint32 // of the last frame pushed

	clean   uint32 // bytes below end that are zero, while the stack is idle
	deepest uint32 // bytes below end that were ever used, but for what lowest says
	held    uint32 // of those, what may be in RAM: see tidy
	state   uint32
	shape   uint32 // its number
	rounds  uint8  // Puts in a row that were not deep
	native  bool   // native code ran here since it was last looked how deep it went

	_ [2 + 4*(8-unsafe.Sizeof(uintptr(0)))]byte
}

// stackSize is a cache line, so that stacks of two processors do not share one.
const stackSize = 64

var _ = [1]struct{}{}[unsafe.Sizeof(Stack{})-stackSize]

// The states of a Stack. Memory that was never used, or whose pool is closed, reads as none.
const (
	none = iota
	idle
	used
)

// at returns a place in the stack's memory.
func (s *Stack) at(place uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(s), place) }

// usable panics unless the stack was got and not put since.
func (s *Stack) usable(op string) {
	switch s.state {
	case used:
	case idle:
		panic(s.violation(op, "use after Put"))
	default:
		panic(s.violation(op, s.unusable()))
	}
}

// unusable says why a Stack that reads zero cannot be used. One in none of our regions is no pool's,
// or its pool was closed so long ago that the addresses have left quarantine.
func (s *Stack) unusable() string {
	if guard.Locate(uintptr(unsafe.Pointer(s))) == nil {
		return "use of a zero Stack: Pool.Get makes one"
	}
	return "use after Close of the pool"
}

func (s *Stack) violation(op, what string) *guard.Violation {
	v := &guard.Violation{Op: "stack." + op, What: what, Addr: uintptr(unsafe.Pointer(s))}
	if f := guard.Locate(v.Addr); f != nil {
		v.Region, v.Offset = f.Region, f.Offset
	}
	return v
}

// Size returns the bytes that the stack can hold, those in use included.
func (s *Stack) Size() int {
	s.usable("Size")
	return int(s.shapeOf().size)
}

// Used returns the bytes in use.
func (s *Stack) Used() int {
	s.usable("Used")
	return int(s.shapeOf().end(s) - s.top)
}

// HighWater returns the most bytes that were ever in use, by whoever had the stack. What native code
// used is known to the OS page, and as far as it is in RAM; to find that takes a system call, and
// touches nothing. Native code that runs meanwhile is not waited for.
func (s *Stack) HighWater() int {
	s.usable("HighWater")
	return s.highWater()
}

func (s *Stack) highWater() int {
	sh := s.shapeOf()
	end := sh.end(s)
	deep := max(uintptr(atomic.LoadUint32(&s.deepest)), end-atomic.LoadUintptr(&s.lowest), end-atomic.LoadUintptr(&s.top))
	if s.native {
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
	if s.state != used {
		usable(s, "Push")
	}
	f := Frame{s, s.top, s.serial + 1, s.frame}
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
	s.usable("Pop")
	if f.stack != s {
		panic(s.violation("Pop", "frame of another stack"))
	}
	panic(s.violation("Pop", "frame that is not the innermost open one"))
}

// free takes back what lies below to.
func (s *Stack) free(to uintptr) {
	top := s.top
	s.top = to
	if top == to {
		return
	}
	if top < s.lowest {
		s.lowest = top
	}
	if n := to - top; n <= eager {
		clear(unsafe.Slice((*byte)(s.at(top)), n))
	} else {
		s.limit = to
	}
}

// clearStep is how far ahead dirty memory is cleared, at least.
const clearStep = 512

// reach makes limit low enough for size bytes below top, or says why it cannot be.
func (s *Stack) reach(size uintptr) error {
	sh := s.shapeOf()
	floor := sh.end(s) - sh.size
	if size > s.top-floor {
		return fmt.Errorf("stack: %q: %d bytes do not fit, %d of %d are in use: %w", sh.name, size, sh.end(s)-s.top, sh.size, ErrOverflow)
	}
	if to := s.top - size; to < s.limit {
		to = max(floor, min(to, s.limit-min(s.limit, clearStep)))
		clear(unsafe.Slice((*byte)(s.at(to)), s.limit-to))
		s.limit = to
	}
	if invariant.Enabled {
		s.check()
	}
	return nil
}
