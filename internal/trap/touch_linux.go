//go:build amd64 || arm64

//lint:file-ignore U1000 handler, which is in assembly, calls onFault

package trap

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// text is the memory in which onFault composes a report: on the signal stack, so that it does not move.
type text struct{ vm.Text }

// onFault looks at a fault of Go code: it notes the fault in its cell, and writes the report if the fault ends the
// program. g is the goroutine, t memory of any contents.
//
// handler calls onFault on the signal stack. Nothing in it may need a larger stack, so it and all that it calls are
// nosplit. Nothing may store pointers, because the write barrier is no signal handler's, and nothing may use
// package atomic, because the race detector has its own. The linker allows a chain of nosplit functions some
// 800 bytes, whatever the stack, and frames are several times as large without optimisation or with coverage
// counters. So handler calls onFault by its address, and onFault calls the others through variables, which the
// linker takes for the starts of other chains. The largest takes 660 bytes, of which the system call is 400.
//
//go:nosplit
//go:norace
func onFault(addr, pc, sig uintptr, g unsafe.Pointer, t *text) {
	r, f := step.touched(addr, pc), finder
	if r == nil && (f == nil || addr < nilPage) || step.panics(g) {
		return
	}
	var kinds *Kinds
	if r != nil {
		kinds, f = r.Kinds, nil
	} else if r, kinds = f.Find(addr, sig); r == nil {
		return
	}
	step.addTouch(r, kinds, addr, t)
	step.addPlace(r, kinds, addr, t)
	step.addStacks(r, t)
	step.write(t)
	if f != nil {
		f.Done()
	}
}

// nilPage is the end of the addresses at which Go takes a fault for a touch of a nil pointer, and panics.
const nilPage = 0x1000

// step has the functions that onFault calls.
var step = struct {
	touched            func(addr, pc uintptr) *Report
	panics             func(g unsafe.Pointer) bool
	addTouch, addPlace func(r *Report, k *Kinds, addr uintptr, t *text)
	addStacks          func(r *Report, t *text)
	write              func(t *text)
}{touched, panics, addTouch, addPlace, addStacks, write}

// finder is nil until FindReports.
var finder *Finder

// FindReports makes the handler report the faults that f finds. There is one Finder in a program. Install was called.
// The error wraps errors.ErrUnsupported where the handler cannot tell faults that end the program from others.
func FindReports(f *Finder) error {
	if panicOnFault == 0 {
		return fmt.Errorf("this release of Go does not show whether a goroutine panics on faults: %w", errors.ErrUnsupported)
	}
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&finder)), unsafe.Pointer(f))
	return nil
}

// touched notes a fault of Go code in its cell, and returns the cell's report, or nil. Goroutines change single
// words of cells meanwhile, which touched reads and writes once.
//
//go:nosplit
//go:norace
//go:nocheckptr
func touched(addr, pc uintptr) *Report {
	for row := rows; row != nil; row = row.next {
		if off := addr - row.lo; off < row.size {
			s := (*Cell)(unsafe.Add(row.cells, off/row.stride*unsafe.Sizeof(Cell{})))
			s.pc, s.addr = pc, addr
			return s.report
		}
	}
	return nil
}

// panics tells whether a goroutine panics on faults (debug.SetPanicOnFault): then it goes on, and nothing is
// reported. Where that is unknown it returns false.
//
//go:nosplit
//go:norace
//go:nocheckptr
func panics(g unsafe.Pointer) bool {
	at := unsafe.Add(g, panicOnFault)
	return panicOnFault != 0 && vm.Readable(uintptr(at)) && *(*bool)(at)
}

// panicOnFault is the offset in the runtime's g of the byte that says whether the goroutine panics on faults; 0 if unknown.
var panicOnFault uintptr

// getg returns the address of the runtime's g.
func getg() unsafe.Pointer

// findPanicOnFault looks for the byte of g that follows debug.SetPanicOnFault.
//
//go:norace
//go:nocheckptr
func findPanicOnFault() {
	const some = 256 // bytes of g: it has more
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(false))
	g := unsafe.Slice((*byte)(getg()), some)
	var other [some]bool
	for i := range 16 {
		debug.SetPanicOnFault(i%2 == 1)
		for off, b := range g {
			other[off] = other[off] || b != byte(i%2)
		}
	}
	found := uintptr(0)
	for off := range other {
		if !other[off] {
			if found != 0 {
				return
			}
			found = uintptr(off)
		}
	}
	panicOnFault = found
}

// words are the words of reports. They are variables, because without optimisation each string constant that is passed
// takes 16 bytes of a frame.
var words = struct{ guard, region, address, first, last, comma, offset, minus, of, line, allocated, freed string }{
	guard: "guard: ", region: " in region ", address: ": address 0x",
	first: " bytes before the first of ", last: " bytes beyond the last of ",
	comma: ", ", offset: ", offset ", minus: "-", of: " of ",
	line: "\n", allocated: "allocated at\n", freed: "\nfreed at\n",
}

// before tells whether an address lies before the object.
//
//go:nosplit
//go:noinline
//go:norace
func (r *Report) before(addr uintptr) bool { return addr < r.Base }

// beyond tells whether an address lies beyond the object.
//
//go:nosplit
//go:noinline
//go:norace
func (r *Report) beyond(addr uintptr) bool { return !r.before(addr) && addr-r.Base >= r.Size }

// addTouch begins the report of a touch of an address, in the words of guard.Fault.
//
//go:nosplit
//go:norace
func addTouch(r *Report, k *Kinds, addr uintptr, t *text) {
	kind := &k.Inside
	if r.before(addr) {
		kind = &k.Before
	} else if r.beyond(addr) {
		kind = &k.Beyond
	}
	t.Clear()
	t.Add(&words.guard)
	t.Add(kind)
	t.Add(&words.region)
	t.Add(&r.Region)
	t.Add(&words.address)
	t.AddNumber(addr, 16)
}

// addPlace adds where the address lies: how far from the object, if that has a kind of its own, or else the offset.
//
//go:nosplit
//go:norace
func addPlace(r *Report, k *Kinds, addr uintptr, t *text) {
	how, far, of := &words.offset, addr-r.Base, &words.of
	if r.before(addr) {
		far = -far
		if k.Before != k.Inside {
			how, of = &words.comma, &words.first
		}
	} else if r.beyond(addr) && k.Beyond != k.Inside {
		how, far, of = &words.comma, far-r.Size+1, &words.last
	}
	t.Add(how)
	if how == &words.offset && r.before(addr) {
		t.Add(&words.minus)
	}
	t.AddNumber(far, 10)
	t.Add(of)
	t.AddNumber(r.Size, 10)
	t.Add(&words.line)
}

// addStacks adds the stacks of the allocation and the free of the object, if they are known.
//
//go:nosplit
//go:norace
func addStacks(r *Report, t *text) {
	if len(r.Allocated) > 0 {
		t.Add(&words.allocated)
		t.Add(&r.Allocated)
	}
	if len(r.Freed) > 0 {
		t.Add(&words.freed)
		t.Add(&r.Freed)
	}
}

// write writes the report.
//
//go:nosplit
//go:norace
func write(t *text) { t.Write() }
