package percpu

import "unsafe" // for go:linkname, too

// procPin keeps the goroutine on its processor and returns the processor's number. It is below the
// current GOMAXPROCS, which may be higher than when the caller last looked. No other package links to
// it, so that there is one place to mend when the runtime changes.
//
//go:linkname procPin runtime.procPin
func procPin() int

// procUnpin undoes one procPin.
//
//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// getm returns the runtime's m, the thread that the goroutine is on. Processor says how far that can be
// trusted. It is a pointer here and a uintptr in the runtime, which is the same register.
//
//go:linkname getm runtime.getm
func getm() unsafe.Pointer
