package guard

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Kind says why a touch faulted, or what misuse is: in the words of its error.
type Kind = region.Kind

// The kinds of faults that a touch of a region has. Package native has those of native code.
const (
	Underflow     = region.Underflow     // below the first byte of the region
	Overflow      = region.Overflow      // beyond its last byte
	UseAfterClose = region.UseAfterClose // the region is closed
	UseAfterFree  = region.UseAfterFree  // the object that was there is freed: it was sampled (slab.SetSampling), or a fence of guardtest whose test has ended
	Decommitted   = region.Decommitted   // not committed: never, or not any more
	Guarded       = region.Guarded       // a guard inside the region (Region.Guard)
	Protected     = region.Protected     // committed, but Protect refuses this access
	Truncated     = region.Truncated     // beyond the end of the file that is mapped there
)

// Fault is a touch of a region's inaccessible memory, as Catch returns it, or anything that native
// code was stopped for, as native.Call does.
type Fault struct {
	Addr   uintptr // the address touched; for block copies it may be one further inside the block
	PC     uintptr // the instruction, where native code faulted; else 0
	Kind   Kind
	Region string // its name; "" where the address is no region's
	Offset int    // of Addr from the region's base, or that of a fence or a sampled object; negative for an underflow
	Size   int    // in bytes, of what Offset is in; 0 without region

	// Stacks as the runtime prints them, where they were recorded: of sampled objects.
	Allocated string
	Freed     string
}

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
func Catch(f func()) error {
	if fault := region.Catch(f); fault != nil {
		return (*Fault)(fault)
	}
	return nil
}

// Locate says what a touch of an address would be told as: in which region it lies and where, and
// why it would fault if it does. It returns nil for addresses that are no region's, open or in
// quarantine.
func Locate(addr uintptr) *Fault { return (*Fault)(region.Locate(addr)) }
