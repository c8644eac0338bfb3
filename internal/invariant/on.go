//go:build invariants

// Package invariant tells whether the program was built with -tags invariants. Such builds check whole structures after
// every change. Other builds pay nothing.
package invariant

// Enabled is true with -tags invariants.
const Enabled = true
