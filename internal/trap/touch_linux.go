//go:build amd64 || arm64

//lint:file-ignore U1000 handler calls this, which is in assembly

package trap

import (
	"runtime/debug"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// text is the memory in which handler composes a report: on the signal stack, so that it does not move.
type text struct{ vm.Text }

// touched notes a fault of Go code in its cell, and returns the cell's report, or nil. Goroutines change single
// words of cells meanwhile, which touched reads and writes once; it cannot use package atomic, because the race
// detector has its own.
//
// handler calls touched, panics, addTouch, addPlace, addStacks and write on the signal stack.
// Nothing in them may need a larger stack, so they and all that they call are nosplit, and nothing may
// store pointers, because the write barrier is no signal handler's. The linker allows a chain of
// nosplit functions some 800 bytes, whatever the stack, and frames are several times as large without
// optimisation or with coverage counters. So handler calls each by address, which the linker takes
// for the start of another chain. The largest takes 660 bytes, of which the system call is 400.
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
var words = struct{ guard, region, address, first, last, comma, offset, of, line, allocated, freed string }{
	guard: "guard: ", region: " in region ", address: ": address 0x",
	first: " bytes before the first of ", last: " bytes beyond the last of ",
	comma: ", ", offset: ", offset ", of: " of ",
	line: "\n", allocated: "allocated at\n", freed: "\nfreed at\n",
}

// before tells whether an address lies before the object.
//
//go:nosplit
//go:noinline
//go:norace
func (r *Report) before(addr uintptr) bool { return addr < r.Base }

// beyond tells whether an address lies beyond the object, and that has a kind of its own.
//
//go:nosplit
//go:noinline
//go:norace
func (r *Report) beyond(addr uintptr) bool { return addr-r.Base >= r.Size && r.Beyond != r.Inside }

// addTouch begins the report of a touch of an address, in the words of guard.Fault.
//
//go:nosplit
//go:norace
func addTouch(r *Report, addr uintptr, t *text) {
	kind := &r.Inside
	if r.before(addr) {
		kind = &r.Before
	} else if r.beyond(addr) {
		kind = &r.Beyond
	}
	t.Clear()
	t.Add(&words.guard)
	t.Add(kind)
	t.Add(&words.region)
	t.Add(&r.Region)
	t.Add(&words.address)
	t.AddNumber(addr, 16)
}

// addPlace adds where the address lies in the object, or how far from it.
//
//go:nosplit
//go:norace
func addPlace(r *Report, addr uintptr, t *text) {
	how, far, of := &words.offset, addr-r.Base, &words.of
	if r.before(addr) {
		how, far, of = &words.comma, r.Base-addr, &words.first
	} else if r.beyond(addr) {
		how, far, of = &words.comma, addr-r.Base-r.Size+1, &words.last
	}
	t.Add(how)
	t.AddNumber(far, 10)
	t.Add(of)
	t.AddNumber(r.Size, 10)
	t.Add(&words.line)
}

// addStacks adds the stacks of the allocation and the free of the object, if they are known.
//
//go:nosplit
//go:norace
func addStacks(r *Report, addr uintptr, t *text) {
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
func write(r *Report, addr uintptr, t *text) { t.Write() }
