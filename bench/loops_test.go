package bench

import (
	"encoding/binary"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// The loops of slabHeap. Copies for the other allocators are in loops_others_test.go: see TestLoops.

func (from slabHeap) pairs(n, size int) (ok bool) {
	for i := range n {
		object := from.Alloc(size)
		binary.LittleEndian.PutUint64(object, uint64(i))
		if len(object) != size || binary.LittleEndian.Uint64(object) != uint64(i) {
			return false
		}
		from.Free(object)
	}
	return true
}

func (from slabHeap) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabHeap) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabHeap) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}
