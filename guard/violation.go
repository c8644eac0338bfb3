package guard

import (
	"fmt"
	"strings"
)

// The kinds of misuse that a Violation has, besides UseAfterClose and UseAfterFree.
const (
	ZeroValue       Kind = "use of a zero value"       // a method of a zero value or nil; Detail names the function that makes one
	UseAfterPut     Kind = "use after Put"             // a call on an arena or a stack that its pool took back
	UseAfterReset   Kind = "use after Reset or Rewind" // use of a Mark, or of a table, whose memory the arena took back
	DoubleFree      Kind = "double free"               // Free or Put of an object that was freed or put already, or never allocated
	InvalidPointer  Kind = "invalid pointer"           // a pointer or a reference to a place where no object begins
	WrongSize       Kind = "wrong size"                // Free or Realloc of an object as one of another size
	WrongOwner      Kind = "wrong owner"               // an object, mark or frame of another arena, pool or stack
	OutOfOrder      Kind = "out of order"              // Pop of a frame that is not the innermost open one
	InUse           Kind = "in use"                    // a call that must wait until native code, or a callback, has returned
	InvalidArgument Kind = "invalid argument"          // an argument that no call takes: a nil function
	Overrun         Kind = "overrun"                   // a write beyond the end of an object, or before its start, found by Free
	WriteToFree     Kind = "write to free memory"      // a write to memory that was not allocated, found when it was to be handed out
)

// Violation is misuse that a package of offheap noticed: a double free, use after close, an object of another
// owner. The call panics with a *Violation, because the program is wrong, and its next step may destroy data.
type Violation struct {
	Op     string  // the call that noticed: "arena.Rewind"
	Kind   Kind    // the rule that was broken, to compare with: WrongOwner
	Detail string  // more about it, for people: "mark of another arena"; "" where Kind says all
	Region string  // the owner's name; "" for a zero value
	Addr   uintptr // the object; 0 where there is none
	Offset int     // of the object from the region's base

	// Stacks as the runtime prints them, where they were recorded: of sampled objects.
	Allocated string
	Freed     string
}

// Error returns the call, the rule that it broke, the owner's name and the place, on one line; stacks follow.
func (v *Violation) Error() string {
	s := v.Op + ": " + string(v.Kind)
	if v.Detail != "" {
		s += ": " + v.Detail
	}
	var place []string
	if v.Region != "" {
		place = append(place, fmt.Sprintf("%q", v.Region))
	}
	if v.Addr != 0 {
		place = append(place, fmt.Sprintf("address %#x", v.Addr))
	}
	if v.Addr != 0 || v.Offset != 0 {
		place = append(place, fmt.Sprintf("offset %d", v.Offset))
	}
	if len(place) > 0 {
		s += " (" + strings.Join(place, ", ") + ")"
	}
	return s + stacks(v.Allocated, v.Freed)
}

// stacks returns the end of an error that has the stacks of an object.
func stacks(allocated, freed string) (s string) {
	if allocated != "" {
		s += "\nallocated at\n" + allocated
	}
	if freed != "" {
		s += "\nfreed at\n" + freed
	}
	return s
}
