//go:build amd64 || arm64

//lint:file-ignore U1000 handler calls this, which is in assembly

package trap

import (
	"runtime/debug"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// text is on the signal stack, by handler: the linker allows nosplit functions 800 bytes altogether.
type text struct{ vm.Text }

// touched is called by handler for a fault of Go code, on the signal stack: nothing in it may need a
// larger one, so it and all that it calls is nosplit. What others change meanwhile are single words,
// read and written once; package atomic is out of reach, because the race detector has its own.
//
//go:nosplit
//go:norace
//go:nocheckptr
func touched(addr, pc uintptr, g unsafe.Pointer, t *text) {
	for row := rows; row != nil; row = row.next {
		if off := addr - row.lo; off < row.size {
			s := (*Spot)(unsafe.Add(row.spots, off/row.stride*unsafe.Sizeof(Spot{})))
			s.pc, s.addr = pc, addr
			if r := s.report; r != nil && !panics(g) {
				r.compose(addr, t)
				t.Write()
			}
			return
		}
	}
}

// panics tells whether a goroutine panics on faults (debug.SetPanicOnFault): then it goes on, and
// nothing is reported. Where that cannot be told, all is reported.
//
//go:nosplit
//go:norace
//go:nocheckptr
func panics(g unsafe.Pointer) bool {
	at := unsafe.Add(g, panicOnFault)
	return panicOnFault != 0 && vm.Readable(uintptr(at)) && *(*bool)(at)
}

// panicOnFault is where in the runtime's g it says whether the goroutine panics on faults.
var panicOnFault uintptr

// getg returns the address of the runtime's g.
func getg() unsafe.Pointer

// findPanicOnFault looks which byte of g follows the setting.
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

// compose makes the report of a touch of an address, in the words of guard.Fault.
//
//go:nosplit
//go:norace
func (r *Report) compose(addr uintptr, t *text) {
	kind, where, far, of := r.Inside, ", offset ", addr-r.Base, " of "
	switch {
	case addr < r.Base:
		kind, where, far, of = r.Before, ", ", r.Base-addr, " bytes before the first of "
	case addr-r.Base >= r.Size && r.Beyond != r.Inside:
		kind, where, far, of = r.Beyond, ", ", addr-r.Base-r.Size+1, " bytes beyond the last of "
	}
	t.Clear()
	t.Add("guard: ")
	t.Add(kind)
	t.Add(" in region ")
	t.Add(r.Region)
	t.Add(": address 0x")
	t.AddNumber(addr, 16)
	t.Add(where)
	t.AddNumber(far, 10)
	t.Add(of)
	t.AddNumber(r.Size, 10)
	t.Add("\n")
	if r.Allocated != "" {
		t.Add("allocated at\n")
		t.Add(r.Allocated)
	}
	if r.Freed != "" {
		t.Add("\nfreed at\n")
		t.Add(r.Freed)
	}
}
