package slab

import "unsafe"

// Base returns where the heap's region begins. Objects of up to 1 MiB lie in the Reserve bytes from there on, so their
// offset from Base names them without a pointer; the regions of larger objects, and the guarded slots of sampled ones
// (SetSampling), lie elsewhere. Unlike a Ref, an offset takes no memory, and nothing tells that it is stale: it is for
// programs that know which of their objects live.
//
// Base stays the same as long as the heap is open. Any goroutine may call it. It panics with a *guard.Violation after
// Close.
func (h *Heap) Base() unsafe.Pointer {
	h.usable("Base")
	return h.region.Base()
}
