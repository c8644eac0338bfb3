package guardtest

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/stacktrace"
)

// Fence returns a copy of data whose end touches a guard. A touch of the byte behind the last one faults, at that
// instruction, also in assembly: the test fails with the offset, the length, the line and the callers. A write
// before the first byte fails the test when it ends; a read there is not noticed: see FenceStart.
//
// The copy's capacity is its length. data may be of any length; with none, every touch faults. The copy lives
// until t ends (t.Cleanup), and must not be used afterwards. So a benchmark makes its fences before its loop.
//
// Use the results of the code under test. If the compiler inlines a function whose result is not used, it
// removes the function's reads, and nothing is touched.
//
// Fence must be called on the goroutine that t runs on. If there is no memory, or too many fences are there at
// a time, it ends the test with t.Fatalf. The package comment says what else happens to faults.
func Fence(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, atEnd)
}

// FenceAligned is Fence for code that needs its data aligned to align bytes, a power of two up to the OS page.
// Up to align-1 bytes between the end and the guard are canaries: a read of these is not noticed, and a write fails
// the test when it ends. Another align ends the test with t.Fatalf.
func FenceAligned(t testing.TB, data []byte, align int) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	if align <= 0 || align&(align-1) != 0 || align > guard.PageSize() {
		t.Helper()
		t.Fatalf("guard: fence: alignment %d must be a power of two up to %d", align, guard.PageSize())
	}
	return fence(t, data, align, atEnd)
}

// FenceStart is Fence with the guard before the first byte: a touch of the byte before the first one faults, and a write
// behind the last one fails the test when it ends. The copy is aligned to OS pages.
func FenceStart(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, atStart)
}

// FenceReadOnly is Fence whose data must not be written to: that faults, too.
//
// Cost: about 3 µs up to 16 OS pages, whose memory are temporary files without names, in /dev/shm or else in
// os.TempDir. Where these have no room, and above 16 OS pages, it takes many times as long.
func FenceReadOnly(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, readOnly)
}

// marked is a test for which the functions that make fences call Helper and do nothing else. So a failure is
// reported with the line of their caller. They do not call Helper before there is something to report: the first
// Helper of a test takes 4 µs, many times as long as a fence.
type marked struct{ testing.TB }

// mark calls Helper of t in every function that makes fences.
func mark(t testing.TB) {
	Fence(marked{t}, nil)
	FenceAligned(marked{t}, nil, 1)
	FenceStart(marked{t}, nil)
	FenceReadOnly(marked{t}, nil)
}

// placement says where data lies between its guards.
type placement uint8

const (
	atEnd placement = iota
	atStart
	readOnly // at the end
)

func fence(t testing.TB, data []byte, align int, how placement) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
		return nil
	}
	c, err := newCell(data, align, how)
	if err != nil {
		mark(t)
		t.Fatalf("guard: fence of %d bytes: %v", len(data), err)
	}
	old := debug.SetPanicOnFault(true)
	t.Cleanup(func() {
		debug.SetPanicOnFault(old)
		said, dies := c.end()
		if said == nil {
			return
		}
		mark(t)
		t.Helper()
		for _, s := range said {
			t.Errorf("guard: %s", s)
		}
		if dies {
			t.FailNow() // instead of the panic, which would end the program
		}
	})
	return unsafe.Slice((*byte)(c.data), c.n)
}

// end checks a cell at the end of its test, and gives it back. said has the failures to report. dies tells whether the
// goroutine is panicking because of a fault in the cell.
func (c *cell) end() (said []string, dies bool) {
	if addr, pc := c.watch.TakeFault(); addr != 0 {
		touch := fmt.Sprintf("touch at offset %d of a fence of length %d (%v) by %s", int(addr-uintptr(c.data)), c.n, c.kindAt(addr), place(pc))
		callers := panicsAt(pc)
		if dies = callers != nil; dies {
			touch += "\ncalled by\n" + stacktrace.Text(callers)
		}
		said = append(said, touch)
	}
	for _, off := range c.overwritten() {
		said = append(said, fmt.Sprintf("write at offset %d of a fence of length %d (canary)", off, c.n))
	}
	if err := c.leave(); err != nil {
		said = append(said, fmt.Sprintf("fence of %d bytes: %v", c.n, err))
	}
	return said, dies
}

// place returns the function and the line of an instruction.
func place(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc + 1}).Next()
	return fmt.Sprintf("%s (%s:%d)", f.Function, f.File, f.Line)
}

// panicsAt returns the callers of the function that contains the instruction pc, if the goroutine is panicking because
// it faulted there; else nil. A deferred call calls it, so that function is not far down the stack.
func panicsAt(pc uintptr) []uintptr {
	var pcs [128]uintptr
	n := runtime.Callers(1, pcs[:])
	for i, at := range pcs[:n] {
		if at-1 == pc { // for a call, at is the next instruction, which did not fault
			return pcs[i+1 : n]
		}
	}
	return nil
}
