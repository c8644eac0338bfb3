// Package procpin keeps a goroutine on its processor (a P of the Go scheduler)
// for a few instructions, so that per-processor state needs no lock.
//
// Between Pin and Unpin the code must not allocate, block, fault, grow the stack or
// call anything that is not inlined: the scheduler cannot run meanwhile. A pair
// costs 1.5 to 3.5 ns.
package procpin

import _ "unsafe" // for go:linkname

// Pin keeps the goroutine on its processor and returns the processor's number. It is below the
// current GOMAXPROCS, which may be higher than when the caller last looked.
//
//go:linkname Pin runtime.procPin
func Pin() int

// Unpin undoes one Pin.
//
//go:linkname Unpin runtime.procUnpin
func Unpin()
