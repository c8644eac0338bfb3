package trace

import "github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"

// throughHeap carries out the steps with a slabHeap, and writes to the first and the last byte of
// each object that is allocated or resized. It returns the step whose memory was refused, and the reason.
// It keeps nothing across a call but the address of the step.
func (s *steps) throughHeap(h slabHeap, objects []allocators.Object) (*step, error) {
	for step := &s.all[0]; ; step = step.next() {
		var b []byte
		var err error
		switch step.do {
		case free:
			h.Free(allocators.Bytes(*allocators.At(objects, step.object), 1))
			allocators.Keep(allocators.At(objects, step.object), nil)
			continue
		case allocate:
			b, err = h.TryAllocDirty(step.size, allocators.Align)
		case allocateZeroed:
			b, err = h.TryAlloc(step.size, int(step.extra))
		case resize:
			b, err = h.TryRealloc(allocators.Bytes(*allocators.At(objects, step.object), s.resized[step.extra]), step.size)
		case freeEmpty:
			h.Free(allocators.Bytes(*allocators.At(objects, step.object), 0))
		case end:
			return nil, nil
		}
		if err != nil {
			return step, err
		}
		if step.size > 0 {
			allocators.Stamp(b, byte(step.object), byte(step.object))
		}
		allocators.Keep(allocators.At(objects, step.object), b)
	}
}
