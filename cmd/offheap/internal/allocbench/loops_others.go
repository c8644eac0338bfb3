// Code generated from loops_heap.go by TestLoops. DO NOT EDIT.

package allocbench

import (
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/slab"
)

// localLoops are the loops for a *slab.Local.
type localLoops struct{ from *slab.Local }

// replace keeps nothing across a call but the state of the generator and what it drew: Go stores each local
// variable that changes and is needed after a call, where C has registers for it, and these stores wait
// behind the stores to objects that are not in the cache.
func (l localLoops) replace(w *churner, ops int) {
	from, slots, sizes, s := l.from, w.slots, w.sizes, w.state
	for end := s + workload.Random(ops)*workload.RandomStep; s != end; {
		w.drawn = s.Next()
		from.Free(allocators.Bytes(*allocators.At(slots, workload.Below(w.drawn, len(slots))), 1))
		b := from.AllocDirty(drawSize(w.drawn), allocators.Align)
		r := w.drawn
		allocators.Stamp(b, byte(r), byte(r))
		i := workload.Below(r, len(slots))
		allocators.Keep(allocators.At(slots, i), b)
		*allocators.At(sizes, i) = workload.SizeIndex(r)
	}
	w.state = s
}

func (l localLoops) pairs(n int) {
	from := l.from
	for i := range n {
		b := from.AllocDirty(64, allocators.Align)
		allocators.Write(b, uint64(i))
		from.Free(b)
	}
}

func (l localLoops) allocate64(objects []allocators.Object) {
	from := l.from
	for i := range objects {
		b := from.AllocDirty(64, allocators.Align)
		allocators.Write(b, uint64(i))
		allocators.Keep(&objects[i], b)
	}
}

func (l localLoops) free(objects []allocators.Object) {
	from := l.from
	for _, p := range objects {
		from.Free(allocators.Bytes(p, 1))
	}
}

func (l localLoops) freeInOrder(objects []allocators.Object, order []uint32) {
	from := l.from
	for _, i := range order {
		from.Free(allocators.Bytes(*allocators.At(objects, i), 1))
	}
}

func (l localLoops) allocateTurn(objects []allocators.Object, s *workload.Random) {
	from := l.from
	for i := range objects {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		allocators.Keep(&objects[i], b)
	}
}

func (l localLoops) freeTurn(objects []allocators.Object) (sum uint64) {
	from := l.from
	for _, p := range objects {
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l localLoops) allocateTo(out *ring, s *workload.Random, n int) {
	from, idle := l.from, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			idle.wait()
		}
		allocators.Keep(out.place(), b)
		out.push()
	}
	out.flush()
}

func (l localLoops) freeFrom(in *ring, n int) (sum uint64) {
	from, idle := l.from, idle{}
	for range n {
		p := in.pop()
		for p == nil {
			idle.wait()
			p = in.pop()
		}
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l localLoops) exchange(out, in *ring, s *workload.Random, n int) (sum uint64) {
	from, got, idle := l.from, 0, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			if p := in.pop(); p != nil {
				sum += uint64(*p)
				from.Free(allocators.Bytes(p, 1))
				got++
			} else {
				idle.wait()
			}
		}
		allocators.Keep(out.place(), b)
		out.push()
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		}
	}
	out.flush()
	for got < n {
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		} else {
			idle.wait()
		}
	}
	return sum
}

func (l localLoops) run(r *fleetRun, events []fleetEvent) {
	from, slots := l.from, r.slots
	for _, e := range events {
		size, slot := int(uint32(e)), uint32(e>>32)
		if size == 0 {
			from.Free(allocators.Bytes(*allocators.At(slots, slot), 1))
			continue
		}
		b := from.AllocDirty(size, allocators.Align)
		for i := 0; i < size; i += osPage {
			*allocators.At(b, uint32(i)) = byte(slot)
		}
		*allocators.At(b, uint32(size-1)) = byte(slot)
		allocators.Keep(allocators.At(slots, slot), b)
	}
}

// zeroedLoops are the loops for a *slab.Heap whose memory is zeroed.
type zeroedLoops struct{ from *slab.Heap }

// replace keeps nothing across a call but the state of the generator and what it drew: Go stores each local
// variable that changes and is needed after a call, where C has registers for it, and these stores wait
// behind the stores to objects that are not in the cache.
func (l zeroedLoops) replace(w *churner, ops int) {
	from, slots, sizes, s := l.from, w.slots, w.sizes, w.state
	for end := s + workload.Random(ops)*workload.RandomStep; s != end; {
		w.drawn = s.Next()
		from.Free(allocators.Bytes(*allocators.At(slots, workload.Below(w.drawn, len(slots))), 1))
		b := from.Alloc(drawSize(w.drawn), allocators.Align)
		r := w.drawn
		allocators.Stamp(b, byte(r), byte(r))
		i := workload.Below(r, len(slots))
		allocators.Keep(allocators.At(slots, i), b)
		*allocators.At(sizes, i) = workload.SizeIndex(r)
	}
	w.state = s
}

func (l zeroedLoops) pairs(n int) {
	from := l.from
	for i := range n {
		b := from.Alloc(64, allocators.Align)
		allocators.Write(b, uint64(i))
		from.Free(b)
	}
}

func (l zeroedLoops) allocate64(objects []allocators.Object) {
	from := l.from
	for i := range objects {
		b := from.Alloc(64, allocators.Align)
		allocators.Write(b, uint64(i))
		allocators.Keep(&objects[i], b)
	}
}

func (l zeroedLoops) free(objects []allocators.Object) {
	from := l.from
	for _, p := range objects {
		from.Free(allocators.Bytes(p, 1))
	}
}

func (l zeroedLoops) freeInOrder(objects []allocators.Object, order []uint32) {
	from := l.from
	for _, i := range order {
		from.Free(allocators.Bytes(*allocators.At(objects, i), 1))
	}
}

func (l zeroedLoops) allocateTurn(objects []allocators.Object, s *workload.Random) {
	from := l.from
	for i := range objects {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		allocators.Keep(&objects[i], b)
	}
}

func (l zeroedLoops) freeTurn(objects []allocators.Object) (sum uint64) {
	from := l.from
	for _, p := range objects {
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l zeroedLoops) allocateTo(out *ring, s *workload.Random, n int) {
	from, idle := l.from, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			idle.wait()
		}
		allocators.Keep(out.place(), b)
		out.push()
	}
	out.flush()
}

func (l zeroedLoops) freeFrom(in *ring, n int) (sum uint64) {
	from, idle := l.from, idle{}
	for range n {
		p := in.pop()
		for p == nil {
			idle.wait()
			p = in.pop()
		}
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l zeroedLoops) exchange(out, in *ring, s *workload.Random, n int) (sum uint64) {
	from, got, idle := l.from, 0, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			if p := in.pop(); p != nil {
				sum += uint64(*p)
				from.Free(allocators.Bytes(p, 1))
				got++
			} else {
				idle.wait()
			}
		}
		allocators.Keep(out.place(), b)
		out.push()
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		}
	}
	out.flush()
	for got < n {
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		} else {
			idle.wait()
		}
	}
	return sum
}

func (l zeroedLoops) run(r *fleetRun, events []fleetEvent) {
	from, slots := l.from, r.slots
	for _, e := range events {
		size, slot := int(uint32(e)), uint32(e>>32)
		if size == 0 {
			from.Free(allocators.Bytes(*allocators.At(slots, slot), 1))
			continue
		}
		b := from.Alloc(size, allocators.Align)
		for i := 0; i < size; i += osPage {
			*allocators.At(b, uint32(i)) = byte(slot)
		}
		*allocators.At(b, uint32(size-1)) = byte(slot)
		allocators.Keep(allocators.At(slots, slot), b)
	}
}

// zeroedLocalLoops are the loops for a *slab.Local whose memory is zeroed.
type zeroedLocalLoops struct{ from *slab.Local }

// replace keeps nothing across a call but the state of the generator and what it drew: Go stores each local
// variable that changes and is needed after a call, where C has registers for it, and these stores wait
// behind the stores to objects that are not in the cache.
func (l zeroedLocalLoops) replace(w *churner, ops int) {
	from, slots, sizes, s := l.from, w.slots, w.sizes, w.state
	for end := s + workload.Random(ops)*workload.RandomStep; s != end; {
		w.drawn = s.Next()
		from.Free(allocators.Bytes(*allocators.At(slots, workload.Below(w.drawn, len(slots))), 1))
		b := from.Alloc(drawSize(w.drawn), allocators.Align)
		r := w.drawn
		allocators.Stamp(b, byte(r), byte(r))
		i := workload.Below(r, len(slots))
		allocators.Keep(allocators.At(slots, i), b)
		*allocators.At(sizes, i) = workload.SizeIndex(r)
	}
	w.state = s
}

func (l zeroedLocalLoops) pairs(n int) {
	from := l.from
	for i := range n {
		b := from.Alloc(64, allocators.Align)
		allocators.Write(b, uint64(i))
		from.Free(b)
	}
}

func (l zeroedLocalLoops) allocate64(objects []allocators.Object) {
	from := l.from
	for i := range objects {
		b := from.Alloc(64, allocators.Align)
		allocators.Write(b, uint64(i))
		allocators.Keep(&objects[i], b)
	}
}

func (l zeroedLocalLoops) free(objects []allocators.Object) {
	from := l.from
	for _, p := range objects {
		from.Free(allocators.Bytes(p, 1))
	}
}

func (l zeroedLocalLoops) freeInOrder(objects []allocators.Object, order []uint32) {
	from := l.from
	for _, i := range order {
		from.Free(allocators.Bytes(*allocators.At(objects, i), 1))
	}
}

func (l zeroedLocalLoops) allocateTurn(objects []allocators.Object, s *workload.Random) {
	from := l.from
	for i := range objects {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		allocators.Keep(&objects[i], b)
	}
}

func (l zeroedLocalLoops) freeTurn(objects []allocators.Object) (sum uint64) {
	from := l.from
	for _, p := range objects {
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l zeroedLocalLoops) allocateTo(out *ring, s *workload.Random, n int) {
	from, idle := l.from, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			idle.wait()
		}
		allocators.Keep(out.place(), b)
		out.push()
	}
	out.flush()
}

func (l zeroedLocalLoops) freeFrom(in *ring, n int) (sum uint64) {
	from, idle := l.from, idle{}
	for range n {
		p := in.pop()
		for p == nil {
			idle.wait()
			p = in.pop()
		}
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l zeroedLocalLoops) exchange(out, in *ring, s *workload.Random, n int) (sum uint64) {
	from, got, idle := l.from, 0, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.Alloc(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			if p := in.pop(); p != nil {
				sum += uint64(*p)
				from.Free(allocators.Bytes(p, 1))
				got++
			} else {
				idle.wait()
			}
		}
		allocators.Keep(out.place(), b)
		out.push()
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		}
	}
	out.flush()
	for got < n {
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		} else {
			idle.wait()
		}
	}
	return sum
}

func (l zeroedLocalLoops) run(r *fleetRun, events []fleetEvent) {
	from, slots := l.from, r.slots
	for _, e := range events {
		size, slot := int(uint32(e)), uint32(e>>32)
		if size == 0 {
			from.Free(allocators.Bytes(*allocators.At(slots, slot), 1))
			continue
		}
		b := from.Alloc(size, allocators.Align)
		for i := 0; i < size; i += osPage {
			*allocators.At(b, uint32(i)) = byte(slot)
		}
		*allocators.At(b, uint32(size-1)) = byte(slot)
		allocators.Keep(allocators.At(slots, slot), b)
	}
}

// sourceLoops are the loops for any allocator.
type sourceLoops struct{ from allocators.Source }

// replace keeps nothing across a call but the state of the generator and what it drew: Go stores each local
// variable that changes and is needed after a call, where C has registers for it, and these stores wait
// behind the stores to objects that are not in the cache.
func (l sourceLoops) replace(w *churner, ops int) {
	from, slots, sizes, s := l.from, w.slots, w.sizes, w.state
	for end := s + workload.Random(ops)*workload.RandomStep; s != end; {
		w.drawn = s.Next()
		from.Free(allocators.Bytes(*allocators.At(slots, workload.Below(w.drawn, len(slots))), 1))
		b := from.AllocDirty(drawSize(w.drawn), allocators.Align)
		r := w.drawn
		allocators.Stamp(b, byte(r), byte(r))
		i := workload.Below(r, len(slots))
		allocators.KeepTraced(allocators.At(slots, i), b)
		*allocators.At(sizes, i) = workload.SizeIndex(r)
	}
	w.state = s
}

func (l sourceLoops) pairs(n int) {
	from := l.from
	for i := range n {
		b := from.AllocDirty(64, allocators.Align)
		allocators.Write(b, uint64(i))
		from.Free(b)
	}
}

func (l sourceLoops) allocate64(objects []allocators.Object) {
	from := l.from
	for i := range objects {
		b := from.AllocDirty(64, allocators.Align)
		allocators.Write(b, uint64(i))
		allocators.KeepTraced(&objects[i], b)
	}
}

func (l sourceLoops) free(objects []allocators.Object) {
	from := l.from
	for _, p := range objects {
		from.Free(allocators.Bytes(p, 1))
	}
}

func (l sourceLoops) freeInOrder(objects []allocators.Object, order []uint32) {
	from := l.from
	for _, i := range order {
		from.Free(allocators.Bytes(*allocators.At(objects, i), 1))
	}
}

func (l sourceLoops) allocateTurn(objects []allocators.Object, s *workload.Random) {
	from := l.from
	for i := range objects {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		allocators.KeepTraced(&objects[i], b)
	}
}

func (l sourceLoops) freeTurn(objects []allocators.Object) (sum uint64) {
	from := l.from
	for _, p := range objects {
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l sourceLoops) allocateTo(out *ring, s *workload.Random, n int) {
	from, idle := l.from, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			idle.wait()
		}
		allocators.KeepTraced(out.place(), b)
		out.push()
	}
	out.flush()
}

func (l sourceLoops) freeFrom(in *ring, n int) (sum uint64) {
	from, idle := l.from, idle{}
	for range n {
		p := in.pop()
		for p == nil {
			idle.wait()
			p = in.pop()
		}
		sum += uint64(*p)
		from.Free(allocators.Bytes(p, 1))
	}
	return sum
}

func (l sourceLoops) exchange(out, in *ring, s *workload.Random, n int) (sum uint64) {
	from, got, idle := l.from, 0, idle{}
	for range n {
		index := workload.SizeIndex(s.Next())
		b := from.AllocDirty(workload.Size(index), allocators.Align)
		allocators.Stamp(b, index, 1)
		for out.full() {
			if p := in.pop(); p != nil {
				sum += uint64(*p)
				from.Free(allocators.Bytes(p, 1))
				got++
			} else {
				idle.wait()
			}
		}
		allocators.KeepTraced(out.place(), b)
		out.push()
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		}
	}
	out.flush()
	for got < n {
		if p := in.pop(); p != nil {
			sum += uint64(*p)
			from.Free(allocators.Bytes(p, 1))
			got++
		} else {
			idle.wait()
		}
	}
	return sum
}

func (l sourceLoops) run(r *fleetRun, events []fleetEvent) {
	from, slots := l.from, r.slots
	for _, e := range events {
		size, slot := int(uint32(e)), uint32(e>>32)
		if size == 0 {
			from.Free(allocators.Bytes(*allocators.At(slots, slot), 1))
			continue
		}
		b := from.AllocDirty(size, allocators.Align)
		for i := 0; i < size; i += osPage {
			*allocators.At(b, uint32(i)) = byte(slot)
		}
		*allocators.At(b, uint32(size-1)) = byte(slot)
		allocators.KeepTraced(allocators.At(slots, slot), b)
	}
}
