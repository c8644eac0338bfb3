package native

import "github.com/seed-9a6c551e/offheap/guard"

// The kinds of a guard.Fault that Call and CallF return besides guard's own kinds. A Fault of native
// code has guard.Overflow, guard.UseAfterClose and so on where the code touched inaccessible memory of
// a region.
const (
	StackOverflow      guard.Kind = "stack overflow"                               // touch of the guard below the stack that the code runs on
	BadAddress         guard.Kind = "touch of a bad address"                       // touch of memory that is not mapped and belongs to no region: nil, for example
	IllegalInstruction guard.Kind = "illegal instruction"                          // an instruction that the processor does not know, or a trap; Addr is the instruction
	Arithmetic         guard.Kind = "division by zero or out of range"             // an integer division; Addr is the instruction
	Refused            guard.Kind = "refused by the processor, without an address" // a privileged instruction, a misaligned or an impossible address; Addr is 0
)
