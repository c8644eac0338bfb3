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
