package guard

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Kind says why a touch faulted (Fault), or which rule a call broke (Violation). Compare it with the
// constants; its text is a part of the error.
type Kind = region.Kind

// The kinds of faults of a touch of a region. Package stack/native has the kinds of faults of native code.
const (
	Underflow     Kind = region.Underflow     // below the first byte of the region, the fence or the sampled object
	Overflow      Kind = region.Overflow      // beyond its last byte
	UseAfterClose Kind = region.UseAfterClose // the region is closed
	UseAfterFree  Kind = region.UseAfterFree  // the object there is freed (slab.SetSampling), or the test of the fence has ended (guardtest)
	Decommitted   Kind = region.Decommitted   // never committed, or decommitted since
	Guarded       Kind = region.Guarded       // a guard inside the region (Region.Guard)
	Protected     Kind = region.Protected     // committed, but Protect refuses this access
	Truncated     Kind = region.Truncated     // beyond the end of the file that is mapped there
	ReadOnly      Kind = region.ReadOnly      // a store to a file that is mapped for reading (FileRead), or to memory that others share for reading
	FileFailed    Kind = region.FileFailed    // inside the file: the disk is full, or it failed
)

// Fault is a touch of inaccessible memory of a region, as Catch returns it, or the reason for which the processor
// stopped native code, as native.Call returns it.
type Fault struct {
	Addr   uintptr // the address touched; for block copies it may be one further inside the block
	PC     uintptr // the instruction, where native code faulted; else 0
	Kind   Kind    // why it faulted
	Region string  // name of the region, or of the heap whose sampled object it is; "" for an address in no region
	Offset int     // of Addr from the base of the region, the fence or the sampled object; negative for an underflow
	Size   int     // bytes of the region, the fence or the sampled object; 0 without region

	// Stacks as the runtime prints them, where they were recorded: of sampled objects.
	Allocated string
	Freed     string
}

// Error returns the kind, the region and the place, on one line; stacks follow.
func (f *Fault) Error() string {
	s := fmt.Sprintf("guard: %v", f.Kind)
	if f.Region != "" {
		s += fmt.Sprintf(" in region %q", f.Region)
	}
	s += fmt.Sprintf(": address %#x", f.Addr)
	switch {
	case f.Region == "":
	case f.Kind == Overflow:
		s += fmt.Sprintf(", %d bytes beyond the last of %d", f.Offset-f.Size+1, f.Size)
	case f.Kind == Underflow:
		s += fmt.Sprintf(", %d bytes before the first of %d", -f.Offset, f.Size)
	default:
		s += fmt.Sprintf(", offset %d of %d", f.Offset, f.Size)
	}
	if f.PC != 0 {
		s += fmt.Sprintf(", at instruction %#x", f.PC)
	}
	return s + stacks(f.Allocated, f.Freed)
}

// Catch calls f. If f touches inaccessible memory of a region, Catch returns a *Fault: f ends at that
// instruction, its deferred calls run, and the rest of it does not. Otherwise Catch returns nil. Panics, and
// faults elsewhere (a nil pointer), go on unchanged.
//
// The compiler removes a read whose result is not used, so use it: with `_ = b[i]` nothing is touched.
//
// Catch holds for f and the functions that f calls on this goroutine. Goroutines that f starts need a Catch
// of their own: without one, a fault there ends the program. Calls may be nested; the innermost catches.
//
// A lock that f held at the fault stays locked, unless f unlocks it by defer. So do not touch memory that
// may fault between Lock and Unlock. A fault may come in the middle of a change to the program's own data:
// treat that data as suspect.
//
// Some touches end the program in spite of Catch, because the Go runtime makes them on its own stack:
// sending an off-heap value through a buffered channel by pointer, printing an off-heap string with println,
// panicking with one.
func Catch(f func()) error {
	if fault := region.Catch(f); fault != nil {
		return (*Fault)(fault)
	}
	return nil
}

// ReportFaults makes a fault outside Catch name its region: before Go's own message, and its stacks, one line is
// written to standard error, with the text that the *Fault would have:
//
//	guard: use after close in region "samples": address 0x7f3a14c05005, offset 5 of 1048576
//	unexpected fault address 0x7f3a14c05005
//	fatal error: fault
//
// It holds for all regions of the process, those of arenas, heaps and stacks included, open and in quarantine, and
// for as long as the program runs: nothing turns it off. The first hardened heap (slab.Config.Hardened), the first
// sampled object (slab.SetSampling) and the first fence (guardtest.Fence) turn it on, too.
//
// Nothing is written for faults elsewhere, for those that Catch returns, on a goroutine that panics on faults
// (debug.SetPanicOnFault), nor on threads that Go has never seen. What Go does at a fault stays as it is. If another
// goroutine is changing the region and does not get on, the line says "touch of inaccessible memory" in the place
// of the Kind.
//
// The error wraps errors.ErrUnsupported on systems other than Linux on amd64 and arm64. Another error says that the
// system does not let the process set signal handlers. After an error the program runs on as before. Any
// goroutine may call ReportFaults, any number of times.
//
// Cost: nothing without a fault. A handler of the signals that the processor raises, SIGSEGV and SIGBUS among them,
// goes before Go's (on arm64, of all signals). A handler that C code sets afterwards must call the one that it
// replaces, as Go demands anyway.
func ReportFaults() error { return region.ReportFaults() }

// Locate returns the Fault that Catch would return for a touch of an address: the region that the address lies
// in, where it lies, and why a touch would fault. It touches nothing. It returns nil for an address that lies
// in no region, open or in quarantine. It does not tell whether a touch would fault at all: for accessible
// memory Kind is of no use.
func Locate(addr uintptr) *Fault { return (*Fault)(region.Locate(addr)) }
