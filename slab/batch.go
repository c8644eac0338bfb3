package slab

import "unsafe"

// AllocN fills into with zeroed objects of one size: as Alloc does for each, but several slots for
// one pin. It panics as Alloc does; what it made by then is in into.
func (h *Heap) AllocN(into [][]byte, size int) {
	if _, err := h.TryAllocN(into, size); err != nil {
		panic(err)
	}
}

// TryAllocN is AllocN that returns how many objects it made, and its error if these are not all.
func (h *Heap) TryAllocN(into [][]byte, size int) (n int, err error) {
	if uint(size) > largestSlot || h.hard != nil {
		for ; n < len(into); n++ {
			if into[n], err = h.TryAlloc(size); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	c := classOf(uint(size))
	var items batch
	for n < len(into) {
		some := items[:min(len(items), len(into)-n)]
		popped := 0
		f := h.fronts.enter()
		for f != nil && popped < len(some) {
			it, ok := f.magazine(c).pop()
			if !ok {
				break
			}
			some[popped] = it
			popped++
		}
		h.fronts.leave(f)
		if popped == 0 {
			if some[0], err = h.fetch(&h.fronts, c, size); err != nil {
				return n, err
			}
			popped = 1
		}
		for _, it := range some[:popped] {
			into[n], _ = zeroed(h.object(it, size), it.clean(), nil)
			n++
		}
	}
	return n, nil
}

// FreeN frees many objects, as Free does each, but several for one pin. If one of them is no object
// it panics as Free does: those before it are freed, those behind are not.
func (h *Heap) FreeN(objects [][]byte) {
	if h.hard != nil {
		for _, b := range objects {
			h.Free(b)
		}
		return
	}
	var items batch
	var of [len(items)]uint8
	for len(objects) > 0 {
		found := 0
		for found < len(items) && found < len(objects) {
			c, it, ok := h.takeBack(unsafe.Pointer(unsafe.SliceData(objects[found])))
			if !ok {
				break
			}
			items[found], of[found] = it, c
			found++
		}
		pushed := 0
		f := h.fronts.enter()
		for f != nil && pushed < found && f.magazine(of[pushed]).push(items[pushed]) {
			pushed++
		}
		h.fronts.leave(f)
		for ; pushed < found; pushed++ {
			h.put(&h.fronts, of[pushed], items[pushed])
		}
		objects = objects[found:]
		if found == 0 {
			h.Free(objects[0])
			objects = objects[1:]
		}
	}
}
