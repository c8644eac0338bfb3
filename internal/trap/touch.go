package trap

import (
	"sync/atomic"
	"unsafe"
)

// CellRow is a stretch of cells of equal size that faults of Go code are noted for: each cell has a
// Cell. The handler reads it, so it is never freed.
type CellRow struct {
	lo, size, stride uintptr
	cells            unsafe.Pointer // to the first
	next             *CellRow       // never changes
}

// Cell is what is known of a cell's faults.
type Cell struct {
	addr, pc uintptr // of the last
	report   *Report // nil says nothing
}

// Report is what is written to standard error for a fault that ends the program, before Go's own
// message. It never changes once it is in a Cell, and texts are ASCII.
type Report struct {
	Base, Size uintptr // of the object

	Before, Inside, Beyond string // what a touch is called, by where it is
	Region                 string // quoted
	Allocated, Freed       string // stacks; "" for none
}

var rows *CellRow

// Note makes the handler note faults in n cells from lo on. Until Install it does nothing.
func WatchCells(lo, stride uintptr, n int) []Cell {
	cells := make([]Cell, n)
	mu.Lock()
	defer mu.Unlock()
	row := &CellRow{lo: lo, size: uintptr(n) * stride, stride: stride, cells: unsafe.Pointer(unsafe.SliceData(cells)), next: rows}
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&rows)), unsafe.Pointer(row))
	return cells
}

// Say sets what is reported of the cell.
func (s *Cell) SetReport(r *Report) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&s.report)), unsafe.Pointer(r))
}

// Take returns the address and the instruction of the last fault in the cell, and forgets it. addr
// is 0 if there was none.
func (s *Cell) TakeFault() (addr, pc uintptr) {
	return atomic.SwapUintptr(&s.addr, 0), atomic.LoadUintptr(&s.pc)
}
