package slab

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// panicOf returns what f panics with.
func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

// TestMisuseLeavesTheHeapWhole frees what must not be freed, many times, and looks for damage.
func TestMisuseLeavesTheHeapWhole(t *testing.T) {
	h := open(t, Config{})
	var live []held
	for i := range 2000 {
		o := held{b: h.Alloc(i%600, 8), seed: byte(i)}
		fill(o.b, o.seed)
		live = append(live, o)
		for _, off := range []int{1, 8, 16, 48} {
			if off < len(o.b) && panicOf(func() { h.Free(o.b[off:]) }) == nil {
				t.Fatalf("freed %d bytes behind the start of %d", off, len(o.b))
			}
		}
	}
	for _, o := range live {
		if err := o.verify(); err != nil {
			t.Fatal(err)
		}
		h.Free(o.b)
		if panicOf(func() { h.Free(o.b) }) == nil {
			t.Fatal("freed twice")
		}
	}
	h.check()
}

// TestInteriorFreesSaySo frees every address in objects of several sizes, among them those where no slot starts in the
// block: none of them is called a double free.
func TestInteriorFreesSaySo(t *testing.T) {
	for _, hard := range []bool{false, true} {
		h := open(t, Config{Hardened: hard})
		for _, size := range []int{40, 72, 100, 300, 700, 5000, 110_000, 140_000, 1_000_000} {
			b := h.Alloc(size, 1)
			step := 1
			if size > 10_000 {
				step = 16 << 10
			}
			for at := step; at < len(b); at += step {
				v, _ := panicOf(func() { h.Free(b[at:]) }).(*guard.Violation)
				if v == nil || v.Kind != guard.InvalidPointer || v.Detail != notTheStart {
					t.Fatalf("hardened %v: Free of %d bytes behind the start of %d: %v", hard, at, size, v)
				}
			}
			h.Free(b)
		}
	}
}

// TestLocalCloses checks the errors of Local.Close.
func TestLocalCloses(t *testing.T) {
	h := open(t, Config{})
	one, two := h.Local(), h.Local()
	one.Free(one.Alloc(10, 8))
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Live != 0 || s.Cached != 0 {
		t.Errorf("a closed Local holds slots: %+v", s)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Local{one, two} {
		if err := l.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("closed again, or after the heap: %v", err)
		}
	}
}
