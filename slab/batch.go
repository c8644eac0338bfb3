package slab

// AllocN fills into with zeroed objects of one size and alignment, each as Alloc allocates it. It panics as Alloc
// does; into then begins with the objects that were made before.
func (h *Heap) AllocN(into [][]byte, size, align int) {
	if _, err := h.TryAllocN(into, size, align); err != nil {
		panic(err)
	}
}

// TryAllocN is AllocN that returns the number of objects that it made, and its error if that is less than
// len(into).
func (h *Heap) TryAllocN(into [][]byte, size, align int) (n int, err error) {
	h.usable("Alloc")
	if err := checkAlloc(size, align); err != nil {
		return 0, err
	}
	for ; n < len(into); n++ {
		if into[n], err = h.TryAlloc(size, align); err != nil {
			return n, err
		}
	}
	return n, nil
}

// FreeN frees many objects, each as Free does. If a slice is not a live object it panics as Free does: the objects
// before it are freed, those behind it are not.
func (h *Heap) FreeN(objects [][]byte) {
	h.made("Free")
	for _, b := range objects {
		h.Free(b)
	}
}
