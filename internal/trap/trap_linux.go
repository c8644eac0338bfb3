//go:build amd64 || arm64

package trap

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Call runs fn on the stack that ends at sp, a multiple of 16, with six integer arguments. No other goroutine may use
// the stack meanwhile. Install was called.
//
//go:noescape
func Call(b *Block, fn, sp uintptr, args *[6]uintptr) (out uintptr, stop Stop)

// CallF is Call with floating-point arguments and result.
//
//go:noescape
func CallF(b *Block, fn, sp uintptr, args *[8]float64) (out float64, stop Stop)

// publish puts an area at the head of the list. The handler may be reading it.
func publish(a *Area) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&areas)), unsafe.Pointer(a))
}

// old holds the handlers that were installed before, by signal.
var old [65]uintptr

// handlerAddr returns the address of the handler, which is no Go function.
func handlerAddr() uintptr

// install puts handler before the handlers of the signals. After an error some signals may have it: then it passes
// everything on.
func install() error {
	findPanicOnFault()
	for _, sig := range signals() {
		was, err := vm.SignalAction(sig)
		if err != nil {
			return fmt.Errorf("looking at the handler of signal %d: %w", sig, err)
		}
		if was.Handler <= 1 || was.Handler == handlerAddr() { // the default, or ignored: no handler
			continue
		}
		atomic.StoreUintptr(&old[sig], was.Handler)
		was.Handler = handlerAddr()
		if err := vm.SetSignalAction(sig, was); err != nil {
			return fmt.Errorf("putting a handler before that of signal %d: %w", sig, err)
		}
	}
	return nil
}
