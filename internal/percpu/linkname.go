package percpu

import _ "unsafe" // for go:linkname

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
