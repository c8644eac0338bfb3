package slab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// mappingsOf returns how many mappings a region consists of that may be read.
func mappingsOf(t *testing.T, r *region.Region) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("the system does not tell its mappings")
	}
	base := uintptr(r.Base())
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if from < base+uintptr(r.Size()) && to > base && mode[0] == 'r' {
			n++
		}
	}
	return n
}

// fewMappings has no decommit succeed in a heap that takes mappings, as if the process had none left,
// until it is lifted. It counts the calls.
func fewMappings(t *testing.T, h *Heap) (calls *int, lift func()) {
	real, calls := decommitUnits, new(int)
	refused := true
	decommitUnits = func(r *region.Region, off, n int) error {
		*calls++
		if refused && r == h.region && h.space.mappingDelta(off/unit, n/unit) > 0 {
			return fmt.Errorf("vm.max_map_count: %w", guard.ErrNoMemory)
		}
		return real(r, off, n)
	}
	t.Cleanup(func() { decommitUnits = real })
	return calls, func() { refused = false }
}

// TestGuardsTakeOneMapping makes slabs with guards that are markers.
func TestGuardsTakeOneMapping(t *testing.T) {
	if !guard.LightGuards() {
		t.Skip("guards are not markers")
	}
	h := open(t, Config{Hardened: true})
	for round := range 2 {
		all := allocMany(h, 200, 60_000)
		if n := mappingsOf(t, h.region); n != 1 {
			t.Errorf("%d slabs are in %d mappings", len(all), n)
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

// everySecond frees every second object, and returns the others.
func everySecond(h *Heap, all [][]byte) (rest [][]byte) {
	for i, b := range all {
		if i%2 == 0 {
			h.Free(b)
		} else {
			rest = append(rest, b)
		}
	}
	return rest
}

// TestOutsideDiscarded purges a heap every second slab of which is empty, when there are no mappings:
// the memory goes back all the same, at once, and the addresses when that is possible.
func TestOutsideDiscarded(t *testing.T) {
	for name, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		t.Run(name, func(t *testing.T) {
			if c.Hardened && !guard.LightGuards() {
				t.Skip("guards are not markers")
			}
			const n = 600
			h := open(t, c)
			calls, lift := fewMappings(t, h)
			rest := everySecond(h, allocMany(h, n, 60_000))
			free := int64(n/2*unit) * int64(1+h.space.guards)
			for round := range 3 {
				if err := h.Purge(); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				h.check()
				s, resident := h.Stats(), resident(t, h)
				if resident < 0 {
					t.Skip("the system does not tell what is resident")
				}
				if s.Discarded < free-4*unit || s.Discarded > free || resident > n/2*unit+2<<20 {
					t.Fatalf("round %d: %d bytes are free, %d in RAM, %+v", round, free, resident, s)
				}
				if s.Committed < s.Discarded+n/2*unit {
					t.Errorf("round %d: what is discarded is charged: %+v", round, s)
				}
				// The second time there is nothing to ask the kernel for.
				*calls = 0
				stop := vm.Inject(vm.Madvise, 0, nil)
				err := h.space.cool(0)
				if made := stop(); err != nil || made > 0 || *calls > 1 {
					t.Errorf("round %d: %v; %d calls of madvise and %d of Decommit for what is discarded", round, err, made, *calls)
				}
				// It is used again, and before other memory.
				committed := h.region.Committed()
				again := make([][]byte, n/4)
				for i := range again {
					again[i] = h.Alloc(60_000, 8)
					for at, x := range again[i] {
						if x != 0 {
							t.Fatalf("round %d: byte %d of an object is %d", round, at, x)
						}
					}
					again[i][100] = 1
				}
				if got := h.region.Committed(); got > committed {
					t.Errorf("round %d: %d bytes were committed, and there were discarded ones", round, got-committed)
				}
				h.check()
				for _, b := range again {
					h.Free(b)
				}
			}
			if c.Hardened {
				if err := h.Purge(); err != nil {
					t.Fatal(err)
				}
				for _, b := range rest { // the units before and behind are discarded: they fault
					err := guard.Catch(func() { poke(b, unit-int(addr(b)%unit)+unit, 1) })
					if err == nil {
						t.Fatal("memory of an empty slab in a hardened heap may be written to")
					}
				}
			}
			lift()
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			h.check()
			if s := h.Stats(); s.Discarded != 0 || h.region.Committed() > int64(n/2*unit)*int64(1+h.space.guards)+4*unit {
				t.Errorf("when there are mappings: %+v", s)
			}
			for _, b := range rest {
				h.Free(b)
			}
			if err := h.Purge(); err != nil || h.region.Committed() != 0 {
				t.Errorf("%v; %d bytes are committed", err, h.region.Committed())
			}
		})
	}
}

// TestOutsideDiscardedGrowTogether frees what lies between discarded units: the run as a whole can be
// decommitted without a mapping more.
func TestOutsideDiscardedGrowTogether(t *testing.T) {
	for name, c := range map[string]Config{"heap": {}, "hardened": {Hardened: true}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, c)
			fewMappings(t, h)
			rest := everySecond(h, allocMany(h, 200, 60_000))
			if err := h.Purge(); err != nil {
				t.Fatal(err)
			}
			if s := h.Stats(); s.Discarded == 0 && h.space.guards == 0 {
				t.Fatalf("nothing is discarded: the test is wrong: %+v", s)
			}
			for _, b := range rest {
				h.Free(b)
			}
			if err := h.Purge(); err != nil || h.region.Committed() != 0 {
				t.Errorf("%v; %d bytes are committed", err, h.region.Committed())
			}
			h.check()
		})
	}
}

// TestOutsideDecayDiscards waits, instead of calling Purge.
func TestOutsideDecayDiscards(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{})
	calls, lift := fewMappings(t, h)
	everySecond(h, allocMany(h, 400, 60_000))
	pass := func() {
		now += decay.Beat
		raise(h.mayDecay(nil))
	}
	for range 2 * decayAfter / decay.Beat {
		pass()
	}
	discarded := h.Stats().Discarded
	if discarded < 190*unit {
		t.Fatalf("%d bytes are discarded after a while", discarded)
	}
	*calls = 0
	for range 10 {
		pass()
	}
	if *calls > 10 {
		t.Errorf("%d calls for what is discarded, in 10 passes", *calls)
	}
	lift()
	pass()
	if s := h.Stats(); s.Discarded != 0 {
		t.Errorf("when there are mappings: %+v", s)
	}
	h.check()
}

// TestOutsideRefusedOnce refuses one decommit where guards are not markers, as the kernel may.
func TestOutsideRefusedOnce(t *testing.T) {
	h := open(t, Config{Hardened: true})
	h.space.marked = false
	real := decommitUnits
	refusals := 2
	decommitUnits = func(r *region.Region, off, n int) error {
		if refusals--; refusals >= 0 {
			return guard.ErrNoMemory
		}
		return real(r, off, n)
	}
	t.Cleanup(func() { decommitUnits = real })
	for range 3 {
		for _, b := range allocMany(h, 20, 60_000) {
			h.Free(b)
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		h.check()
	}
	if h.region.Committed() != 0 {
		t.Errorf("%d bytes are committed", h.region.Committed())
	}
}
