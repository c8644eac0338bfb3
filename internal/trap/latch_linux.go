//go:build amd64 || arm64

package trap

import "github.com/seed-9a6c551e/offheap/internal/vm"

// Take takes the latch, for handlers. It gives up after a tenth of a second: the goroutine that has the latch may wait
// for the thread that the handler interrupts.
//
//go:nosplit
//go:norace
func (l *Latch) Take() bool {
	for range 100 {
		if take(&l.taken) {
			return true
		}
		nap()
	}
	return false
}

var nap = vm.Nap // see onFault

// Drop gives the latch back, for handlers.
//
//go:nosplit
//go:norace
func (l *Latch) Drop() { drop(&l.taken) }

// take sets a word from 0 to 1, and tells whether it was 0. It is not of package atomic, which calls the race detector
// in its builds.
//
//go:noescape
func take(word *uint32) bool

// drop sets a word to 0.
//
//go:noescape
func drop(word *uint32)
