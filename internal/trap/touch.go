package trap

import (
	"sync/atomic"
	"unsafe"
)

// Row is a stretch of cells of equal size that faults of Go code are noted for: each cell has a
// Spot. The handler reads it, so it is never freed.
type Row struct {
	lo, size, stride uintptr
	spots            unsafe.Pointer // to the first
	next             *Row           // never changes
}

// Spot is what is known of a cell's faults.
type Spot struct {
	addr, pc uintptr // of the last
	report   *Report // nil says nothing
}

// Report is what is written to standard error for a fault that ends the program, before Go's own
// message. It never changes once it is in a Spot, and texts are ASCII.
type Report struct {
	Base, Size uintptr // of the object

	Before, Inside, Beyond string // what a touch is called, by where it is
	Region                 string // quoted
	Allocated, Freed       string // stacks; "" for none
}

var rows *Row

// Note makes the handler note faults in n cells from lo on. Until Install it does nothing.
func Note(lo, stride uintptr, n int) []Spot {
	spots := make([]Spot, n)
	mu.Lock()
	defer mu.Unlock()
	row := &Row{lo: lo, size: uintptr(n) * stride, stride: stride, spots: unsafe.Pointer(unsafe.SliceData(spots)), next: rows}
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&rows)), unsafe.Pointer(row))
	return spots
}

// Say sets what is reported of the cell.
func (s *Spot) Say(r *Report) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&s.report)), unsafe.Pointer(r))
}

// Take returns the address and the instruction of the last fault in the cell, and forgets it. addr
// is 0 if there was none.
func (s *Spot) Take() (addr, pc uintptr) {
	return atomic.SwapUintptr(&s.addr, 0), atomic.LoadUintptr(&s.pc)
}
