package slab

import (
	"cmp"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// AllocN fills into with zeroed objects of one size and alignment. It allocates each as Alloc does, but pins
// the processor once for up to 64 of them. It panics as Alloc does; into then begins with the objects that were
// made before.
func (h *Heap) AllocN(into [][]byte, size, align int) {
	if _, err := h.TryAllocN(into, size, align); err != nil {
		panic(err)
	}
}

// TryAllocN is AllocN that returns the number of objects that it made, and its error if that is less than
// len(into).
func (h *Heap) TryAllocN(into [][]byte, size, align int) (n int, err error) {
	h.made("Alloc")
	if err := h.checkAlloc(size, align); err != nil {
		return 0, err
	}
	c, ok := alignedClass(size, align)
	if !ok || h.hard != nil {
		for ; n < len(into); n++ {
			if into[n], err = h.TryAlloc(size, align); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	var items batch
	for n < len(into) {
		some := items[:min(len(items), len(into)-n)]
		claimed := 0
		pc := percpu.Pin(&h.caches)
		for pc != nil && claimed < len(some) {
			m := pc.magazine(c)
			rest, ok := m.next()
			if !ok {
				break
			}
			it := *m.at(uint32(rest))
			if !h.isSlot(c, it) || !h.claim(it) {
				break
			}
			m.n = rest
			some[claimed] = it
			claimed++
		}
		percpu.Unpin(pc)
		for _, it := range some[:claimed] {
			into[n], _ = zeroed(h.bytes(it, size, classes[c].size), it.clean(), nil)
			n++
		}
		if claimed == 0 {
			if into[n], err = h.TryAlloc(size, align); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// FreeN frees many objects. It frees each as Free does, but pins the processor once for up to 64 of them. If a
// slice is not a live object it panics as Free does: the objects before it are freed, those behind it are not.
func (h *Heap) FreeN(objects [][]byte) {
	h.made("Free")
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
			h.markWrite(unsafe.Pointer(unsafe.SliceData(objects[found])))
			c, it, ok := h.takeBack(unsafe.Pointer(unsafe.SliceData(objects[found])))
			if !ok {
				break
			}
			items[found], of[found] = it, c
			found++
		}
		pushed := 0
		pc := percpu.Pin(&h.caches)
		for pc != nil && pushed < found && pc.magazine(of[pushed]).push(items[pushed]) {
			pushed++
		}
		percpu.Unpin(pc)
		var bad *guard.Violation
		for ; pushed < found; pushed++ {
			bad = cmp.Or(bad, h.put(of[pushed], items[pushed]))
		}
		raise(bad)
		objects = objects[found:]
		if found == 0 {
			h.Free(objects[0])
			objects = objects[1:]
		}
	}
}
