// Code generated from loops_test.go by TestLoops. DO NOT EDIT.

package bench

import (
	"encoding/binary"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// The loops of slabLocal.

func (from slabLocal) pairs(n, size int) (ok bool) {
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

func (from slabLocal) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabLocal) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabLocal) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of zeroedHeap.

func (from zeroedHeap) pairs(n, size int) (ok bool) {
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

func (from zeroedHeap) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from zeroedHeap) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from zeroedHeap) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of slabPool64.

func (from slabPool64) pairs(n, size int) (ok bool) {
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

func (from slabPool64) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabPool64) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabPool64) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of slabPool1K.

func (from slabPool1K) pairs(n, size int) (ok bool) {
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

func (from slabPool1K) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabPool1K) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabPool1K) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of slabNew64.

func (from slabNew64) pairs(n, size int) (ok bool) {
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

func (from slabNew64) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabNew64) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabNew64) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of slabNew1K.

func (from slabNew1K) pairs(n, size int) (ok bool) {
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

func (from slabNew1K) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from slabNew1K) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from slabNew1K) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of modernc.

func (from modernc) pairs(n, size int) (ok bool) {
	for i := range n {
		object := sized(first(from.a.UnsafeMalloc(size)), size)
		binary.LittleEndian.PutUint64(object, uint64(i))
		if len(object) != size || binary.LittleEndian.Uint64(object) != uint64(i) {
			return false
		}
		from.Free(object)
	}
	return true
}

func (from modernc) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := sized(first(from.a.UnsafeMalloc(size)), size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from modernc) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := sized(first(from.a.UnsafeMalloc(size)), size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from modernc) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of *lockedModernc.

func (from *lockedModernc) pairs(n, size int) (ok bool) {
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

func (from *lockedModernc) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from *lockedModernc) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from *lockedModernc) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of mcacheBytes.

func (from mcacheBytes) pairs(n, size int) (ok bool) {
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

func (from mcacheBytes) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from mcacheBytes) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from mcacheBytes) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of syncPool64.

func (from syncPool64) pairs(n, size int) (ok bool) {
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

func (from syncPool64) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from syncPool64) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from syncPool64) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of syncPool1K.

func (from syncPool1K) pairs(n, size int) (ok bool) {
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

func (from syncPool1K) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from syncPool1K) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from syncPool1K) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of calloc.

func (from calloc) pairs(n, size int) (ok bool) {
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

func (from calloc) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from calloc) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from calloc) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of goHeap.

func (from goHeap) pairs(n, size int) (ok bool) {
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

func (from goHeap) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from goHeap) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from goHeap) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}

// The loops of *overlapping.

func (from *overlapping) pairs(n, size int) (ok bool) {
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

func (from *overlapping) replace(w *churner, n int) {
	for range n {
		i, size := w.state.Draw(live)
		from.Free(w.slots[i])
		object := from.Alloc(size)
		stamp(object, byte(i))
		w.slots[i] = object
	}
}

func (from *overlapping) produce(out *batch, state *workload.Random) {
	for i := range out.objects[:out.n] {
		_, size := state.Draw(live)
		object := from.Alloc(size)
		stamp(object, byte(i))
		out.objects[i] = object
	}
}

func (from *overlapping) consume(in *batch) (ok bool) {
	ok = true
	for i, object := range in.objects[:in.n] {
		ok = ok && stamped(object, byte(i))
		from.Free(object)
	}
	return ok
}
