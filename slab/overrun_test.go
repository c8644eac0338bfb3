package slab

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// sizesOfAllClasses are for each size class the largest and the smallest object in it, and one between.
func sizesOfAllClasses() (sizes []int) {
	least := 1
	for i := range sizeclass.Table[1:sizeclass.Number] {
		largest := int(sizeclass.Table[i+1].Size) - canarySize
		sizes = append(sizes, least, (least+largest)/2, largest)
		least = largest + 1
	}
	return sizes
}

// faultOf returns the fault that f ends with.
func faultOf(f func()) (fault *guard.Fault) {
	errors.As(guard.Catch(f), &fault)
	return fault
}

// mustBeFound changes a byte beside an object, and frees the object that must notice it.
func mustBeFound(t *testing.T, h *Heap, b []byte, at int, notices []byte) {
	t.Helper()
	what := "object was written to behind its end"
	if at < 0 && address(b) == address(notices) {
		what = "object was written to before its start"
	}
	poke(b, at, 0x10)
	v := violationOf(t, func() { h.Free(notices) })
	if v == nil || v.Kind != guard.Overrun || v.Detail != what || v.Addr != address(b)+uintptr(at) {
		t.Fatalf("byte %d of an object of %d: %v", at, len(b), v)
	}
	poke(b, at, 0x10)
}

// mustFault touches a byte that is inaccessible.
func mustFault(t *testing.T, b []byte, at int) {
	t.Helper()
	if f := faultOf(func() { poke(b, at, 0x10) }); f == nil || f.Addr != address(b)+uintptr(at) {
		t.Fatalf("byte %d of an object of %d: %v", at, len(b), f)
	}
}

// TestOverrunsAreFound writes one byte behind objects of every size class: each up to the end of the
// slot, or, where these are many, those near both ends and some between.
func TestOverrunsAreFound(t *testing.T) {
	h := open(t, Config{Hardened: true})
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range sizesOfAllClasses() {
		b := h.Alloc(size, 8)
		slot := int(sizeclass.Table[sizeclass.Of(uint(size+canarySize))].Size)
		for at := size; at < slot; at++ {
			if slot > rounds(32<<10) && at-size > 40 && slot-at > 40 {
				at = min(at+r.IntN(200), slot-40)
			}
			mustBeFound(t, h, b, at, b)
		}
		h.Free(b) // nothing is wrong with it any more, so it is free
	}
	h.check()
}

// TestOverrunsOfLargeObjects writes one byte behind and before large objects: on their OS pages canaries lie
// around them, and the memory beside these pages is inaccessible.
func TestOverrunsOfLargeObjects(t *testing.T) {
	h := open(t, Config{Hardened: true})
	page := guard.PageSize()
	for _, align := range []int{1, 64, 8 << 10} {
		for _, size := range []int{1<<20 + 1, 1<<20 + 100, 2 << 20, 3<<20 - 1} {
			b := h.Alloc(size, align)
			start, end := -int(address(b)%uintptr(page)), size+page-1-int((address(b)+uintptr(size)+uintptr(page)-1)%uintptr(page))
			for at := start; at < end; at++ {
				if at == 0 {
					at = size
				}
				if at < end {
					mustBeFound(t, h, b, at, b)
				}
			}
			for _, beyond := range []int{0, 1, 8, page, 15 * page} {
				mustFault(t, b, end+beyond)
				mustFault(t, b, start-1-beyond)
			}
			h.Free(b)
		}
	}
}

// TestUnderrunsAreExact writes one byte before objects of every size class: that is the canary of the
// slot before, each byte of which the free of its object notices, or a guard.
func TestUnderrunsAreExact(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // others would keep slots, so that not all are of one slab
	h := open(t, Config{Hardened: true})
	for i := range sizeclass.Table[1:sizeclass.Number] {
		k := &sizeclass.Table[i+1]
		all := make([][]byte, k.Slots)
		for i := range all {
			all[i] = h.AllocDirty(int(k.Size)-canarySize, 8)
		}
		slices.SortFunc(all, func(a, b []byte) int { return int(address(a)) - int(address(b)) })
		mustFault(t, all[0], -1)
		for i := 1; i < len(all); i += max(len(all)/10, 1) {
			if address(all[i])-address(all[i-1]) != uintptr(k.Size) {
				continue // they are in two slabs
			}
			for at := -canarySize; at < 0; at++ {
				mustBeFound(t, h, all[i], at, all[i-1])
			}
		}
		h.FreeN(all)
	}
	h.check()
}

// TestUnderrunsAreFound writes one byte before an object: that is a canary or poison or a slot that
// was never handed out, or a guard.
func TestUnderrunsAreFound(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // another processor could keep the slot
	ways := map[string]int{}
	for round := range rounds(90) {
		size := []int{1, 16, 100, 1000, 5000, 100_000, 900_000, 2 << 20, 2<<20 + 1}[round%9]
		h := open(t, Config{Hardened: true})
		var all [][]byte
		for range 20 {
			all = append(all, h.Alloc(size, 8))
		}
		h.Free(all[0])
		b := all[7]
		var fault *guard.Fault
		if err := guard.Catch(func() { poke(b, -1, 1) }); errors.As(err, &fault) {
			ways["fault"]++
			continue
		}
		var v *guard.Violation
		for i := 1; i < len(all) && v == nil; i++ {
			v = violationOf(t, func() { h.Free(all[i]) })
		}
		for i := 0; i < 100_000 && v == nil; i++ {
			v = violationOf(t, func() { h.AllocDirty(size, 8); h.Free(h.AllocDirty(size, 8)) })
		}
		if v == nil || v.Addr != address(b)-1 {
			t.Fatalf("size %d: %v", size, v)
		}
		ways[said(v)]++
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(ways) < 3 {
		t.Errorf("found in these ways: %v", ways)
	}
}

// TestWildWrites changes a byte anywhere within 64 KiB of an object. It tells how many of these writes
// are found by the time that all objects are free and others have their places. Those to a canary,
// and to inaccessible memory, must be.
func TestWildWrites(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // another processor could keep the slot
	for _, size := range []int{8, 40, 100, 1000, 10_000, 100_000} {
		r := rand.New(rand.NewPCG(uint64(size), 1))
		n, found, ways := rounds(30), 0, map[string]int{}
		for range n {
			h := open(t, Config{Hardened: true})
			var all [][]byte
			for range 100 {
				all = append(all, h.AllocDirty(size, 8))
			}
			for i := 0; i < len(all); i += 2 { // half of them are free
				h.Free(all[i])
			}
			b, at := all[1+2*r.IntN(len(all)/2)], 0
			for at = r.IntN(128<<10) - 64<<10; at >= 0 && at < size; {
				at = r.IntN(128<<10) - 64<<10
			}
			place := h.placeOf(address(b) + uintptr(at))
			var v *guard.Violation
			fault := faultOf(func() { poke(b, at, 0x10) })
			for i := 1; i < len(all) && fault == nil && v == nil; i += 2 {
				v = violationOf(t, func() { h.Free(all[i]) })
			}
			for i := 0; i < 3<<20/(size+80) && fault == nil && v == nil; i++ {
				v = violationOf(t, func() { h.Free(h.AllocDirty(size, 8)) })
			}
			switch {
			case fault != nil && fault.Addr == address(b)+uintptr(at), v != nil && v.Addr == address(b)+uintptr(at):
				found++
				ways["found: "+place]++
			case fault != nil || v != nil:
				t.Fatalf("size %d, byte %d, %s: %v, %v", size, at, place, fault, v)
			default:
				ways["missed: "+place]++
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if ways["missed: canary"]+ways["missed: inaccessible"] > 0 {
			t.Errorf("size %d: %v", size, ways)
		}
		t.Logf("objects of %d bytes: %d of %d writes are found: %v", size, found, n, ways)
	}
}

// placeOf describes the memory at an address of a hardened heap.
func (h *Heap) placeOf(p uintptr) string {
	off := p - address(h.region.Bytes())
	if off>>unitBits >= uintptr(h.slots.Edge()) || !h.slots.EntryAt(off).InSlab() {
		return "inaccessible"
	}
	it, ok := h.slots.Around(unsafe.Add(h.region.Base(), off))
	switch {
	case !ok:
		return "end of a slab"
	case !h.slots.IsObject(h.slots.At(it)):
		return "free slot"
	case off-it.Offset() >= uintptr(*h.slots.Size(it.State())-1):
		return "canary"
	}
	return "object"
}
