package trap

import (
	"sync/atomic"
	"unsafe"
)

// CellRow is a row of cells of equal size in which faults of Go code are noted. The handler reads it, so it is never
// freed.
type CellRow struct {
	lo, size, stride uintptr
	cells            unsafe.Pointer // to the first Cell
	next             *CellRow       // never changes
}

// Cell holds the last fault in a cell, and the report for one that ends the program.
type Cell struct {
	addr, pc uintptr // of the last fault
	report   *Report // nil reports nothing
}

// Report is the text that is written to standard error for a fault that ends the program, before Go's own message. It never
// changes once a Cell or a Finder has it. The texts are ASCII.
type Report struct {
	Base, Size uintptr // of the object

	Kinds            *Kinds // of a touch; nil where a Finder tells
	Region           string // quoted
	Allocated, Freed string // stacks; "" for none
}

// Kinds are the kinds of a touch, by its place.
type Kinds struct{ Before, Inside, Beyond string }

// Finder finds the reports of faults that lie in no cell. The handler calls its functions, on the signal stack: they must
// be nosplit, take no lock but a Latch, and store no pointers. The linker counts the stack of each by itself: see onFault.
type Finder struct {
	// Find returns the report of a fault at an address, and the kinds of the touch; nil reports nothing. sig is
	// the signal's number. What they refer to must stay until Done.
	Find func(addr, sig uintptr) (*Report, *Kinds)

	Done func() // follows when a report that was found has been written
}

var rows *CellRow

// WatchCells makes the handler note faults in n cells of stride bytes, the first at lo. It does nothing until Install.
func WatchCells(lo, stride uintptr, n int) []Cell {
	cells := make([]Cell, n)
	mu.Lock()
	defer mu.Unlock()
	row := &CellRow{lo: lo, size: uintptr(n) * stride, stride: stride, cells: unsafe.Pointer(unsafe.SliceData(cells)), next: rows}
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&rows)), unsafe.Pointer(row))
	return cells
}

// SetReport sets the report of the cell; nil reports nothing.
func (s *Cell) SetReport(r *Report) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&s.report)), unsafe.Pointer(r))
}

// TakeFault returns the address and the instruction of the last fault in the cell, and forgets it. addr is 0 if there was
// none.
func (s *Cell) TakeFault() (addr, pc uintptr) {
	return atomic.SwapUintptr(&s.addr, 0), atomic.LoadUintptr(&s.pc)
}
