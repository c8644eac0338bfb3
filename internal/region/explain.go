package region

// Explain is for allocators built on the region, which is there as long as the program: f is called
// for every fault that is told of it, and may change what is told: of which object, allocated and
// freed where. It may be called by several goroutines at once, and must not touch the region.
func (r *Region) Explain(f func(*Fault)) { r.rec.explain.Store(&f) }
