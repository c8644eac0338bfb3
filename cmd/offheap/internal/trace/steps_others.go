// Code generated from steps_heap.go by TestSteps. DO NOT EDIT.

package trace

import "github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"

// throughNothing carries out the steps with a *nothing, and writes to the first and the last byte of
// each object that is allocated or resized. It returns the step whose memory was refused, and the reason.
func (s *steps) throughNothing(h *nothing, objects []allocators.Object) (failed *step, err error) {
	for i := range s.all {
		step := &s.all[i]
		place := allocators.At(objects, step.object)
		var b []byte
		switch step.do {
		case free:
			h.Free(allocators.Bytes(*place, 1))
			allocators.Keep(place, nil)
			continue
		case allocate:
			b, err = h.TryAllocDirty(step.size, allocators.Align)
		case allocateZeroed:
			b, err = h.TryAlloc(step.size, int(step.extra))
		case resize:
			b, err = h.TryRealloc(allocators.Bytes(*place, s.resized[step.extra]), step.size)
		default:
			h.Free(allocators.Bytes(*place, 0))
			allocators.Keep(place, nil)
			continue
		}
		if err != nil {
			return step, err
		}
		if step.size > 0 {
			allocators.Stamp(b, byte(step.object), byte(step.object))
		}
		allocators.Keep(place, b)
	}
	return nil, nil
}

// throughGo carries out the steps with a goHeap, and writes to the first and the last byte of
// each object that is allocated or resized. It returns the step whose memory was refused, and the reason.
func (s *steps) throughGo(h goHeap, objects []allocators.Object) (failed *step, err error) {
	for i := range s.all {
		step := &s.all[i]
		place := allocators.At(objects, step.object)
		var b []byte
		switch step.do {
		case free:
			h.Free(allocators.Bytes(*place, 1))
			allocators.KeepTraced(place, nil)
			continue
		case allocate:
			b, err = h.TryAllocDirty(step.size, allocators.Align)
		case allocateZeroed:
			b, err = h.TryAlloc(step.size, int(step.extra))
		case resize:
			b, err = h.TryRealloc(allocators.Bytes(*place, s.resized[step.extra]), step.size)
		default:
			h.Free(allocators.Bytes(*place, 0))
			allocators.KeepTraced(place, nil)
			continue
		}
		if err != nil {
			return step, err
		}
		if step.size > 0 {
			allocators.Stamp(b, byte(step.object), byte(step.object))
		}
		allocators.KeepTraced(place, b)
	}
	return nil, nil
}
