package guard

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Kind says why a touch of a region faulted.
type Kind uint8

const (
	Underflow     Kind = iota + 1 // below the first byte of the region
	Overflow                      // beyond its last byte
	UseAfterClose                 // the region is closed
	Decommitted                   // not committed: never, or not any more
	Guarded                       // a guard inside the region (Region.Guard)
	Protected                     // committed, but Protect refuses this access
)

func (k Kind) String() string {
	switch k {
	case Underflow:
		return "underflow"
	case Overflow:
		return "overflow"
	case UseAfterClose:
		return "use after close"
	case Decommitted:
		return "touch of decommitted memory"
	case Guarded:
		return "touch of a guard"
	case Protected:
		return "access refused by protection"
	}
	return "unknown fault"
}

// Fault is a touch of a region's inaccessible memory, as Catch returns it.
type Fault struct {
	Addr   uintptr // the address touched; for block copies it may be one further inside the block
	Kind   Kind
	Region string // its name
	Offset int    // of Addr from the region's base; negative for an underflow
	Size   int    // the region's size in bytes
}

func (f *Fault) Error() string {
	where := fmt.Sprintf("offset %d of %d", f.Offset, f.Size)
	switch f.Kind {
	case Overflow:
		where = fmt.Sprintf("%d bytes beyond the last of %d", f.Offset-f.Size+1, f.Size)
	case Underflow:
		where = fmt.Sprintf("%d bytes before the first of %d", -f.Offset, f.Size)
	}
	return fmt.Sprintf("guard: %v in region %q: address %#x, %s", f.Kind, f.Region, f.Addr, where)
}

// Catch calls f and returns nil, or a *Fault if f touches inaccessible memory of a region, which
// ends f at that instruction: its deferred calls run, what follows does not. A panic, or a fault
// elsewhere (a nil pointer), goes on unchanged.
//
// It holds for f and what f calls on this goroutine. Goroutines that f starts need a Catch of their
// own: without one, a fault there ends the program. Calls may be nested;
// the innermost catches.
//
// A lock that f held at the fault stays locked unless f unlocks it by defer, so
// do not touch memory that may fault between Lock and Unlock. A fault may come in the middle of a
// change to the program's own data: treat that data as suspect.
//
// Some touches end the program in spite of Catch, because the Go runtime does
// them on its own stack: sending a value that lies off-heap through a channel
// by pointer to it, printing an off-heap string with println, panicking with one.
func Catch(f func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			fault := classify(p)
			if fault == nil {
				panic(p)
			}
			err = fault
		}
	}()
	f()
	return nil
}

// classify finds the fault behind a recovered panic; nil if it is not ours.
func classify(p any) *Fault {
	at, ok := p.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	addr := at.Addr()
	r := lookup(addr)
	if r == nil {
		return nil
	}
	return &Fault{Addr: addr, Kind: r.kindAt(addr), Region: r.name, Offset: int(addr - uintptr(r.base)), Size: int(r.data)}
}

func (r *record) kindAt(addr uintptr) Kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	off := addr - uintptr(r.base) // wraps below the base
	switch {
	case r.state != open:
		return UseAfterClose
	case addr < uintptr(r.base):
		return Underflow
	case off >= r.data:
		return Overflow
	}
	if _, guarded := r.guards.at(off); guarded {
		return Guarded
	}
	if _, committed := r.committed.at(off); !committed {
		return Decommitted
	}
	return Protected
}
