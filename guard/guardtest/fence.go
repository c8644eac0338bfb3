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

// Fence returns a copy of data whose end touches a guard, for fuzz and unit tests of code that may
// read or write too far: a touch of the byte behind the last one faults, at that instruction, also in
// assembly. The test then fails, with the offset, the length, the line and who called it. A write
// before the first byte is told when the test ends; a read there is not noticed: see FenceStart.
//
//	 Fence                                FenceStart
//	┌ ─ ─ ─┬────────┬──────┬ ─ ─ ─┐      ┌ ─ ─ ─┬──────┬────────┬ ─ ─ ─┐
//	  guard │ canary │ data │ guard        guard │ data │ canary │ guard
//	└ ─ ─ ─┴────────┴──────┴ ─ ─ ─┘      └ ─ ─ ─┴──────┴────────┴ ─ ─ ─┘
//
// The copy's capacity is its length, and data may be of any length: with none, every touch faults.
// It is freed by t.Cleanup, and must not be used afterwards: what a loop makes is there until the
// test ends, so benchmarks make it before theirs. No more of them can be there at a time than a quarter
// of vm.max_map_count (16382 by default).
//
// A touch after the test faults (UseAfterFree). It never reaches a later fence: memory is used again
// oldest first, when 64 other small fences, or two large ones, have ended since. The first 1024 fences of
// a process, and those of more than 16 OS pages, become inaccessible when they end. Later ones become so
// in groups of up to 16, when all of a group have ended: until then a late touch does not fault. Such a
// fault fails no test. It ends the program, after a line that says what was touched, unless the goroutine
// panics on faults: then it is a panic as any.
//
// A fault ends the test's function, its deferred calls run, and the tests that follow are run: for
// that, Fence has the goroutine that called it panic on faults (debug.SetPanicOnFault) until the test
// ends. This goroutine must be the one that t runs on, as for FailNow. A fault that the code under
// test recovers from fails the test, too. On another goroutine, that of a subtest too, a fault ends
// the program, after a line that says what was touched. Where the system is not Linux, or the
// processor neither amd64 nor arm64, a fault ends the program as any does in Go.
//
// Making and freeing one of up to 4 KiB takes about 1.5 µs, and what t.Cleanup takes, so a fuzzer keeps
// its speed: up to 16 OS pages, the memory is used again without being given back. It counts for the
// budget, and so do the guards of such a fence and of up to 15 more: 1 MiB.
func Fence(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, atEnd)
}

// FenceAligned is Fence for code that needs its data aligned to align bytes, a power of two up to
// the OS page: as many bytes between the end and the guard are canaries as that takes, up to
// align-1.
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

// FenceStart is Fence where the first byte touches a guard: a touch of the byte before faults. The
// copy is aligned to OS pages.
func FenceStart(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, atStart)
}

// FenceReadOnly is Fence where a write to the data faults, too. Those of up to 16 OS pages lie in
// temporary files without names, in /dev/shm or else in os.TempDir. Where there is no room for them, and
// above that, a fence takes many times as long; else about 3 µs.
func FenceReadOnly(t testing.TB, data []byte) []byte {
	if m, ok := t.(marked); ok {
		m.Helper()
	}
	return fence(t, data, 1, readOnly)
}

// marked is a test for which the functions that make fences only say that they are helpers, so that
// what is told has the line of their caller. They do not say so before there is something to tell: a
// test's first Helper takes 4 µs, many times as long as a fence.
type marked struct{ testing.TB }

func mark(t testing.TB) {
	Fence(marked{t}, nil)
	FenceAligned(marked{t}, nil, 1)
	FenceStart(marked{t}, nil)
	FenceReadOnly(marked{t}, nil)
}

// placement is how data lies between its guards.
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

// end looks at a cell at the end of its test, and gives it back. It returns what is to be told of it;
// dies is whether the goroutine panics because of that.
func (c *cell) end() (said []string, dies bool) {
	if addr, pc := c.spot.Take(); addr != 0 {
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

// place says where an instruction is.
func place(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc + 1}).Next()
	return fmt.Sprintf("%s (%s:%d)", f.Function, f.File, f.Line)
}

// panicsAt returns the callers of the function that an instruction is in, if the goroutine panics
// because it faulted there. It is called by a deferred call, so that is not far down the stack.
func panicsAt(pc uintptr) []uintptr {
	var pcs [128]uintptr
	n := runtime.Callers(1, pcs[:])
	for i, at := range pcs[:n] {
		if at-1 == pc { // of calls it is the instruction behind, which never faulted
			return pcs[i+1 : n]
		}
	}
	return nil
}
