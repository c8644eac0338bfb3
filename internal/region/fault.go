package region

import (
	"runtime"
	"runtime/debug"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Kind says why a touch faulted, in the words of the error.
type Kind string

// The kinds that touches of regions have; guard documents them.
const (
	Underflow     Kind = "underflow"
	Overflow      Kind = "overflow"
	UseAfterClose Kind = "use after close"
	UseAfterFree  Kind = "use after free"
	Decommitted   Kind = "touch of decommitted memory"
	Guarded       Kind = "touch of a guard"
	Protected     Kind = "access refused by protection"
	Truncated     Kind = "touch beyond the end of its file"
	ReadOnly      Kind = "write to memory that is mapped for reading"
	FileFailed    Kind = "touch that the file system could not serve"
)

// Fault is a touch of a region's inaccessible memory. guard.Fault has the same fields, so that one is
// converted to the other; it documents them, and is the error.
type Fault struct {
	Addr   uintptr
	PC     uintptr
	Kind   Kind
	Region string
	Offset int
	Size   int

	Allocated string
	Freed     string
}

// Catch calls f and returns the fault that ended it, nil if none did. Panics, and faults elsewhere, go on unchanged.
func Catch(f func()) (fault *Fault) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			if fault = classify(p); fault == nil {
				panic(p)
			}
		}
	}()
	f()
	return nil
}

// classify returns the fault behind a recovered panic; nil if it is not of a region.
func classify(p any) *Fault {
	at, ok := p.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	return Locate(at.Addr())
}

// Locate is guard.Locate.
func Locate(addr uintptr) *Fault {
	r := lookup(addr)
	if r == nil {
		return nil
	}
	f := &Fault{Addr: addr, Region: r.name, Offset: int(addr - r.report.Base)}
	f.Kind, f.Size = r.kindAt(addr)
	if explain := r.explain.Load(); explain != nil {
		(*explain)(f)
	}
	return f
}

// kindAt returns why a touch of an address in the reservation faults, if it does, and the bytes of data.
func (r *record) kindAt(addr uintptr) (k Kind, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kindUnderLock(addr), int(r.report.Size)
}

// kindUnderLock is kindAt for callers that hold r.mu.
func (r *record) kindUnderLock(addr uintptr) Kind {
	off := addr - uintptr(r.base) // wraps below the base
	switch {
	case r.state != stateOpen:
		return UseAfterClose
	case addr < uintptr(r.base):
		return Underflow
	case off >= r.data:
		return Overflow
	}
	b := r.bookAt(off)
	switch {
	case b.guarded:
		return Guarded
	case !b.committed:
		return Decommitted
	case r.backing != nil:
		return r.fileKind(off, b.prot)
	case b.file && (b.prot == vm.ReadWrite || vm.BeyondFile(unsafe.Add(r.base, off&^uintptr(PageSize()-1)))):
		return Truncated
	case b.file && r.mirrors && b.prot == vm.Read:
		return ReadOnly
	}
	return Protected
}

// Explain sets a function that completes every fault in the region before it is returned: with the object that was
// touched, and the stacks of its allocation and free. It is for regions that stay open as long as the program; no
// leak is reported for them. Several goroutines may call f at once. f must not touch the region.
func (r *Region) Explain(f func(*Fault)) { r.rec.explain.Store(&f) }
