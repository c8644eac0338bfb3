//go:build race

package percpu

import "sync"

// Mutex is embedded in every cache that is used pinned. In this build it shows the race detector that
// goroutines take turns on the cache, which the pin guarantees and the detector does not know.
type Mutex struct{ sync.Mutex }

// Pin locks the processor's cache until Unpin.
func Pin[T any, P Lockable[T]](t *Table[T]) *T {
	processor := procPin()
	procUnpin() // a pinned goroutine must not wait for a lock
	at := t.of(processor)
	c := at.Load()
	if c == nil {
		return nil
	}
	P(c).Lock()
	if at.Load() != c { // Drain has taken it out
		P(c).Unlock()
		return nil
	}
	return c
}

// Unpin ends the pinned section that Pin or PinNew began. c is the cache that they returned.
func Unpin[T any, P Lockable[T]](c *T) {
	if c != nil {
		P(c).Unlock()
	}
}
