package native

import "github.com/seed-9a6c551e/offheap/guard"

// The kinds of faults that Call and CallF return besides those of package guard. Where native code touches
// inaccessible memory of a region, the kind is one of guard's: guard.Overflow, guard.UseAfterClose, and so
// on.
const (
	StackOverflow      guard.Kind = "stack overflow"                               // touch of the guard below the stack that the code runs on
	BadAddress         guard.Kind = "touch of a bad address"                       // touch of memory that is not mapped and belongs to no region: nil, for example
	IllegalInstruction guard.Kind = "illegal instruction"                          // an instruction that the processor does not know, or a trap; Addr is the instruction
	Arithmetic         guard.Kind = "division by zero or out of range"             // an integer division, which does not fault on arm64; Addr is the instruction
	Refused            guard.Kind = "refused by the processor, without an address" // a privileged instruction, a misaligned or an impossible address; Addr is 0
)
