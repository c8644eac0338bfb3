package slab

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// poke writes a byte at an offset from the start of b, wherever that is.
func poke(b []byte, at int, x byte) { *(*byte)(unsafe.Add(addr(b), at)) ^= x }

// violationOf returns the violation that f panics with.
func violationOf(t *testing.T, f func()) *guard.Violation {
	t.Helper()
	var v *guard.Violation
	if err, _ := panicOf(f).(error); !errors.As(err, &v) {
		t.Helper()
		return nil
	}
	return v
}

// said returns the kind and detail of a violation.
func said(v *guard.Violation) string {
	if v.Detail == "" {
		return string(v.Kind)
	}
	return string(v.Kind) + ": " + v.Detail
}

// TestWritesAfterFreeAreFound changes a byte of a freed object. The change is found at the latest when the
// slot is to be handed out again.
func TestWritesAfterFreeAreFound(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // another processor could keep the slot
	h := open(t, Config{Hardened: true})
	for _, size := range []int{1, 16, 100, 1000, 5000, 100_000} {
		for _, at := range []int{0, size / 2, max(size-1, 0)} {
			b := h.Alloc(size, 8)
			keep := h.Alloc(size, 8) // so that the slab stays
			h.Free(b)
			poke(b, at, 0x80)
			found := false
			for range 2_000_000 {
				v := violationOf(t, func() { h.Free(h.AllocDirty(size, 8)) })
				if v == nil {
					continue
				}
				if v.Op != "slab.Alloc" || v.Kind != guard.WriteToFree || v.Detail != "written to after it was freed" || v.Addr != address(b)+uintptr(at) {
					t.Fatalf("size %d: %v", size, v)
				}
				found = true
				break
			}
			if !found {
				t.Errorf("byte %d of %d: not found", at, size)
			}
			h.Free(keep)
		}
	}
}

// TestFreedMemoryIsPoison reads freed objects: none of their bytes is left, and their slots are not reused
// soon.
func TestFreedMemoryIsPoison(t *testing.T) {
	h := open(t, Config{Hardened: true})
	b := h.Alloc(1000, 8)
	for i := range b {
		b[i] = 'x'
	}
	h.Free(b)
	if strings.Contains(string(b), "xxxxxxxx") { // fewer may be random
		t.Error("it is still there")
	}
	for range withheldSlots(sizeclass.Of(1000 + canarySize)) {
		c := h.Alloc(1000, 8)
		if address(c) == address(b) {
			t.Fatal("it was handed out again at once")
		}
		h.Free(c)
	}
}

// TestSlotsAreRandom checks that objects do not lie in the order in which they were made.
func TestSlotsAreRandom(t *testing.T) {
	h := open(t, Config{Hardened: true})
	up, far := 0, map[uintptr]bool{}
	last := address(h.Alloc(64, 8))
	for range 100 {
		a := address(h.Alloc(64, 8))
		if a > last {
			up++
		}
		far[a-last] = true
		last = a
	}
	if up < 20 || up > 80 || len(far) < 80 {
		t.Errorf("%d of 100 are above the one before, there are %d distances", up, len(far))
	}
}

// TestOverflowOfASlabFaults writes on and on behind an object.
func TestOverflowOfASlabFaults(t *testing.T) {
	h := open(t, Config{Hardened: true})
	h.Alloc(1, 8)
	b := h.Alloc(40, 8)
	var fault *guard.Fault
	err := guard.Catch(func() {
		for i := 0; ; i++ {
			poke(b, i, 1)
		}
	})
	if !errors.As(err, &fault) || uintptr(fault.Addr)%unit != 0 {
		t.Error(err)
	}
}

// TestReallocOfAnOverrunObject checks that a Realloc that panics keeps no new object.
func TestReallocOfAnOverrunObject(t *testing.T) {
	h := open(t, Config{Hardened: true})
	b := h.Alloc(100, 8)
	before := h.Stats().Live
	poke(b, 100, 1)
	for range 10 {
		if v := violationOf(t, func() { h.Realloc(b, 10_000) }); v == nil || v.Addr != address(b)+100 {
			t.Fatal(v)
		}
	}
	if s := h.Stats(); s.Live != before {
		t.Errorf("%d bytes are live, before %d", s.Live, before)
	}
}

// TestAbandoned looks at the figures after a write to a free slot was found.
func TestAbandoned(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // another processor could keep the slot
	p := poolFor[[100]byte](t, Config{Hardened: true})
	keep, x := p.Get(), p.Get()
	p.Put(x)
	x[50] ^= 1
	for found := false; !found; {
		var y *[100]byte
		if found = violationOf(t, func() { y = p.Get() }) != nil; !found {
			p.Put(y)
		}
	}
	s := p.Stats()
	if slot := int64(p.Stats().Classes[0].Size); p.Len() != 1 || s.Live != slot || s.Abandoned != slot {
		t.Errorf("%d objects, %+v", p.Len(), s)
	}
	p.Put(keep)
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	p.heap.check()
}
