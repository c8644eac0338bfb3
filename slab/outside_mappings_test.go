package slab

import (
	"fmt"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/decay"
)

// fewMappings has no decommit succeed in a heap that takes mappings, as if the process had none left,
// until it is lifted. It counts the decommits.
func fewMappings(h *Heap) (calls *int, lift func()) {
	calls, refused := new(int), true
	h.space.Intercept(func(mappings int) error {
		*calls++
		if refused && mappings > 0 {
			return fmt.Errorf("vm.max_map_count: %w", guard.ErrNoMemory)
		}
		return nil
	})
	return calls, func() { refused = false }
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
			_, lift := fewMappings(h)
			rest := everySecond(h, allocMany(h, n, 60_000))
			free := int64(n / 2 * unit)
			if c.Hardened {
				free *= 2 // the guards, too
			}
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
					err := guard.Catch(func() { poke(b, unit-int(address(b)%unit)+unit, 1) })
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
			if s := h.Stats(); s.Discarded != 0 || h.region.Committed() > free+4*unit {
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

// TestOutsideDecayDiscards waits, instead of calling Purge.
func TestOutsideDecayDiscards(t *testing.T) {
	real, now := ticks, ticks()
	ticks = func() uint32 { return now }
	defer func() { ticks = real }()
	h := open(t, Config{})
	calls, lift := fewMappings(h)
	everySecond(h, allocMany(h, 400, 60_000))
	pass := func() {
		now += decay.Beat
		raise(h.client().decay(ticks()))
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
