package guard

import "fmt"

// The kinds of misuse that a Violation has, besides UseAfterClose and UseAfterFree.
const (
	ZeroValue       Kind = "use of a zero value"       // or of nil, where something must be opened first
	UseAfterPut     Kind = "use after Put"             // of what a pool has taken back
	UseAfterReset   Kind = "use after Reset or Rewind" // of a Mark, or of a table, whose memory the arena took back
	DoubleFree      Kind = "double free"               // Free or Put of what was freed or put already, or never allocated
	InvalidPointer  Kind = "invalid pointer"           // a pointer, or a reference, to where no object begins
	WrongSize       Kind = "wrong size"                // Free or Realloc of an object as one of another size
	WrongOwner      Kind = "wrong owner"               // what belongs to another arena, pool or stack
	OutOfOrder      Kind = "out of order"              // Pop of a frame that is not the innermost open one
	InUse           Kind = "in use"                    // a call that must not be made now: native code or a callback runs
	InvalidArgument Kind = "invalid argument"          // an argument that no call takes
	Overrun         Kind = "overrun"                   // a write beyond the end of an object, or before its start, found when it was freed
	WriteToFree     Kind = "write to free memory"      // found when the memory was to be handed out again
)

// Violation is misuse that an allocator noticed: double free, use after close,
// an object of another owner. Allocators panic with a *Violation, because the
// program that did it is wrong and what it does next may destroy data.
type Violation struct {
	Op     string  // the call that noticed: "arena.Rewind"
	Kind   Kind    // what is wrong, to compare with: WrongOwner
	Detail string  // more about that, for people: "mark of another arena"; "" where Kind says all
	Region string  // the owner's name
	Addr   uintptr // the object; 0 where there is none
	Offset int     // from the region's base

	// Stacks as the runtime prints them, where they were recorded.
	Allocated string
	Freed     string
}

func (v *Violation) Error() string {
	s := v.Op + ": " + string(v.Kind)
	if v.Detail != "" {
		s += ": " + v.Detail
	}
	s += fmt.Sprintf(" (%q", v.Region)
	if v.Addr != 0 {
		s += fmt.Sprintf(", address %#x", v.Addr)
	}
	if v.Addr != 0 || v.Offset != 0 {
		s += fmt.Sprintf(", offset %d", v.Offset)
	}
	return s + ")" + stacks(v.Allocated, v.Freed)
}

// stacks is the end of an error that tells of an object.
func stacks(allocated, freed string) (s string) {
	if allocated != "" {
		s += "\nallocated at\n" + allocated
	}
	if freed != "" {
		s += "\nfreed at\n" + freed
	}
	return s
}
