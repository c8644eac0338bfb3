package guard

import "fmt"

// Violation is misuse that an allocator noticed: double free, use after close,
// an object of another owner. Allocators panic with a *Violation, because the
// program that did it is wrong and what it does next may destroy data.
type Violation struct {
	Op     string  // the call that noticed: "arena.Rewind"
	What   string  // what is wrong, in fixed words: "mark of another arena"
	Region string  // the owner's name
	Addr   uintptr // the object; 0 where there is none
	Offset int     // from the region's base

	// Stacks as the runtime prints them, where they were recorded.
	Allocated string
	Freed     string
}

func (v *Violation) Error() string {
	s := fmt.Sprintf("%s: %s (%q", v.Op, v.What, v.Region)
	if v.Addr != 0 {
		s += fmt.Sprintf(", address %#x", v.Addr)
	}
	if v.Addr != 0 || v.Offset != 0 {
		s += fmt.Sprintf(", offset %d", v.Offset)
	}
	s += ")"
	if v.Allocated != "" {
		s += "\nallocated at\n" + v.Allocated
	}
	if v.Freed != "" {
		s += "\nfreed at\n" + v.Freed
	}
	return s
}
