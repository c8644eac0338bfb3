// Package limits runs every kind of allocator where the system gives little: addresses, mappings, memory
// of a control group, locked and strictly accounted memory; and looks at core dumps and builds with other
// flags. It has tests only.
package limits
