package slab

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// withSeams lets all heaps have that many seams more than they have now.
func withSeams(t *testing.T, more int64) {
	before := mostSeams
	mostSeams = seams.Load() + more
	t.Cleanup(func() { mostSeams = before })
}

// TestGuardsTakeOneMapping makes slabs with guards that are markers.
func TestGuardsTakeOneMapping(t *testing.T) {
	if !guard.LightGuards() {
		t.Skip("guards are not markers")
	}
	h := open(t, Config{Hardened: true})
	for round := range 2 {
		all := allocMany(h, 200, 60_000)
		if h.space.seams != 2 {
			t.Errorf("%d slabs have %d seams", len(all), h.space.seams)
		}
		for i, b := range all {
			err := guard.Catch(func() { poke(b, unit-int(addr(b)%unit), 1) })
			var fault *guard.Fault
			if !errors.As(err, &fault) || fault.Kind != guard.Guarded {
				t.Fatalf("round %d, object %d: %v", round, i, err)
			}
			h.Free(b)
		}
		for _, b := range allocMany(h, 10, 400_000) { // where guards were
			clear(b)
			h.Free(b)
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuardsThatTakeMappingsEnd makes slabs until guards that are not markers take too many mappings.
func TestGuardsThatTakeMappingsEnd(t *testing.T) {
	h := open(t, Config{Hardened: true})
	h.space.marked = false
	withSeams(t, 20)
	for range 3 {
		var all [][]byte
		var err error
		for err == nil {
			var b []byte
			if b, err = h.TryAlloc(60_000); err == nil {
				all = append(all, b)
			}
		}
		if len(all) != 10 || !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "vm.max_map_count") {
			t.Fatalf("%d slabs, then %v", len(all), err)
		}
		h.check()
		for _, b := range all {
			h.Free(b)
		}
	}
	if err := h.Purge(); err != nil || h.space.seams != 0 {
		t.Errorf("%v, %d seams", err, h.space.seams)
	}
}

// TestPurgeLeavesMappings purges a heap every second slab of which is empty.
func TestPurgeLeavesMappings(t *testing.T) {
	h := open(t, Config{})
	all := allocMany(h, 200, 60_000)
	withSeams(t, 20)
	for i := 0; i < len(all); i += 2 {
		h.Free(all[i])
	}
	if err := h.Purge(); err == nil || !strings.Contains(err.Error(), "vm.max_map_count") {
		t.Error(err)
	}
	h.check()
	if s := h.space.seams; s < 20 || s > 22 {
		t.Errorf("%d seams", s)
	}
	for i := range all {
		if i%2 == 1 {
			h.Free(all[i])
		}
	}
	if err := h.Purge(); err != nil || h.region.Committed() != 0 {
		t.Errorf("%v; %d bytes are committed", err, h.region.Committed())
	}
}
