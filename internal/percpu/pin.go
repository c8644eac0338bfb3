//go:build !race

package percpu

// Mutex is embedded in every cache that is used pinned. It does nothing in this build: the pin keeps every
// other goroutine off the cache.
type Mutex struct{}

func (*Mutex) Lock()   {}
func (*Mutex) Unlock() {}

// Pin keeps the goroutine on its processor until Unpin, and returns the processor's cache: nil if there is
// none yet, on a processor from Max on, and after Close. See the package comment for what the code may not
// do until Unpin, which must follow in each case.
func Pin[T any, P Lockable[T]](t *Table[T]) *T {
	return t.caches[min(uint(procPin()), Max)].Load() // once pinned: see Drain
}

// Unpin ends the pinned section that Pin or PinNew began. c is the cache that they returned.
func Unpin[T any, P Lockable[T]](c *T) { procUnpin() }
