package trap

import (
	"runtime"
	"sync/atomic"
)

// Latch keeps a signal handler away from data while Go code changes them, and Go code while a handler looks at them. A
// handler cannot wait for a sync.Mutex. Go code holds one besides the Latch, so that the handler alone is in its
// way. It must not touch memory that may fault while it has a Latch.
type Latch struct{ taken uint32 }

// Lock takes the latch, for Go code.
func (l *Latch) Lock() {
	for !atomic.CompareAndSwapUint32(&l.taken, 0, 1) {
		runtime.Gosched()
	}
}

// Unlock gives the latch back, for Go code.
func (l *Latch) Unlock() { atomic.StoreUint32(&l.taken, 0) }
