package percpu

// Borrow takes the processor's cache out of the table, calls use with it, and puts it back. Nobody else uses the cache
// meanwhile, and use may do what a pinned section may not. It does nothing if there is no cache. Another cache that the
// processor got meanwhile stays, and so does a table that was closed: then the cache is lost, so use should
// leave nothing in it that matters. In builds for the race detector use is called with the cache's lock held.
func Borrow[T any, P Lockable[T]](t *Table[T], use func(*T)) {
	at := t.of(procPin())
	c := at.Swap(nil) // pinned, so no section is in the middle of it
	procUnpin()
	if c == nil {
		return
	}
	visitLocked[T, P](use, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		at.CompareAndSwap(nil, c)
	}
}
