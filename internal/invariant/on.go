//go:build invariants

// Package invariant tells whether the program was built with -tags invariants: whole structures
// are then checked after every change. It costs nothing otherwise.
package invariant

// Enabled is true with -tags invariants.
const Enabled = true
