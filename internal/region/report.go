package region

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// The report of a fault outside Catch is written by the signal handler of package trap, because Go ends the program
// without a call to anybody. The handler reads the registry and the books as Locate does. It cannot wait for a
// mutex: so a change of the registry's list, and of a record's books, also takes a latch.

// ReportFaults is guard.ReportFaults.
func ReportFaults() error {
	if reporting.Load() {
		return nil
	}
	err := trap.Install()
	if err == nil {
		err = trap.FindReports(&trap.Finder{Find: findReport, Done: doneReport})
	}
	if err != nil {
		return fmt.Errorf("guard: report faults: %w", err)
	}
	reporting.Store(true)
	return nil
}

// reporting is true once ReportFaults has succeeded.
var reporting atomic.Bool

// bookMutex guards the state and the books of a record: against other goroutines, and against the signal handler.
type bookMutex struct {
	sync.Mutex
	latch trap.Latch
}

func (m *bookMutex) Lock() {
	m.Mutex.Lock()
	m.latch.Lock()
}

func (m *bookMutex) TryLock() bool {
	if !m.Mutex.TryLock() {
		return false
	}
	m.latch.Lock()
	return true
}

func (m *bookMutex) Unlock() {
	m.latch.Unlock()
	m.Mutex.Unlock()
}

// insideKinds returns the kinds of touches of an open region where one inside is of kind k.
func insideKinds(k Kind) trap.Kinds {
	return trap.Kinds{Before: string(Underflow), Inside: string(k), Beyond: string(Overflow)}
}

var (
	closedKinds      = trap.Kinds{Before: string(UseAfterClose), Inside: string(UseAfterClose), Beyond: string(UseAfterClose)}
	guardedKinds     = insideKinds(Guarded)
	decommittedKinds = insideKinds(Decommitted)
	protectedKinds   = insideKinds(Protected)
	truncatedKinds   = insideKinds(Truncated)
	readOnlyKinds    = insideKinds(ReadOnly)
	fileFailedKinds  = insideKinds(FileFailed)

	// busyKinds is for a record that another goroutine changes, and has not done so within a tenth of a second.
	busyKinds = insideKinds("touch of inaccessible memory")
)

// findReport returns the report of a fault that ends the program, and the kinds of the touch; nil if it is not of a
// region. It has the registry's latch until doneReport.
//
// The signal handler calls it, so it and all that it calls are nosplit, and store no pointers. The linker allows a chain
// of nosplit functions 800 bytes: so some are called through variables, which starts other chains.
//
//go:nosplit
//go:norace
func findReport(addr, sig uintptr) (*trap.Report, *trap.Kinds) {
	if !registry.latch.Take() {
		return nil, nil
	}
	if r := lookRecord(addr); r != nil {
		if kinds := lookKinds(r, addr-uintptr(r.base), sig == uintptr(syscall.SIGBUS)); kinds != nil {
			return &r.report, kinds
		}
	}
	registry.latch.Drop()
	return nil, nil
}

// The functions that are called through variables.
var (
	lookRecord  = recordAt
	lookKinds   = (*record).kinds
	lookBook    = (*record).bookAt
	lookGuarded = (*guards).at
	lookFile    = vm.FileEnd
)

//go:nosplit
//go:norace
func doneReport() { registry.latch.Drop() }

// kinds returns the kinds of a touch at an offset that faulted: nil where memory could not be had (SIGBUS) for
// another reason than the end of a file.
//
//go:nosplit
//go:norace
func (r *record) kinds(off uintptr, bus bool) (k *trap.Kinds) {
	if !r.mu.latch.Take() {
		return &busyKinds
	}
	b := lookBook(r, off)
	switch {
	case bus && b.file && r.backing != nil && int64(off)+r.backing.at < lookFile(r.backing.fd):
		k = &fileFailedKinds
	case bus && b.file:
		k = &truncatedKinds
	case bus:
	case r.state != stateOpen:
		k = &closedKinds
	case b.guarded:
		k = &guardedKinds
	case !b.committed:
		k = &decommittedKinds
	case r.backing != nil && b.prot != vm.None, r.mirrors && b.file && b.prot == vm.Read:
		k = &readOnlyKinds
	default:
		k = &protectedKinds
	}
	r.mu.latch.Drop()
	return k
}

// booked is what the books have for a byte.
type booked struct {
	guarded, committed, file bool
	prot                     vm.Prot
}

// bookAt looks a byte up; it may lie outside the data. Caller holds r.mu, or is a signal handler that has its latch.
//
//go:nosplit
//go:noinline
//go:norace
func (r *record) bookAt(off uintptr) (b booked) {
	b.guarded = lookGuarded(&r.guards, off)
	if s, ok := r.committed.at(off); ok {
		b.committed, b.prot = true, s.prot
		_, b.file = r.files.at(off)
	}
	return b
}
