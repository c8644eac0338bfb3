package invariant

import "fmt"

// Holds panics if an invariant of a package does not hold: ok is false. what and about say which one, as the arguments
// of fmt.Sprintf. It works in every build: tests check structures without -tags invariants, too.
func Holds(pkg string, ok bool, what string, about ...any) {
	if !ok {
		panic(pkg + ": invariant broken: " + fmt.Sprintf(what, about...))
	}
}
