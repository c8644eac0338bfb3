package slab

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestOutsideSampledOnSoftPanics has OnSoft panic for sampled objects: none of their slots is lost.
func TestOutsideSampledOnSoftPanics(t *testing.T) {
	old, _ := SetSampling(Sampling{Every: 1})
	defer SetSampling(old)
	h := open(t, Config{})
	for range 300 {
		setBudget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) { panic("soft") }})
		func() {
			defer func() { _ = recover() }()
			h.Free(h.Alloc(8000, 8))
		}()
		setBudget(t, guard.Budget{})
	}
	b := h.Alloc(8000, 8)
	if f := guard.Locate(uintptr(addr(b))); f == nil || f.Size != 8000 {
		t.Errorf("nothing is sampled any more: %v", f)
	}
	h.Free(b)
}

// TestOutsideOnSoftCloses closes the heap that allocates: the call says so, and returns no memory.
func TestOutsideOnSoftCloses(t *testing.T) {
	for name, c := range map[string]Config{"plain": {}, "hardened": {Hardened: true}} {
		for _, size := range []int{100, 2 << 20} {
			h := open(t, c)
			setBudget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}})
			err := func() (err error) {
				defer func() { err, _ = recover().(error) }()
				h.AllocDirty(size, 8)
				return nil
			}()
			var v *guard.Violation
			if !errors.As(err, &v) || v.Kind != guard.UseAfterClose {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			setBudget(t, guard.Budget{})
		}
	}
}
