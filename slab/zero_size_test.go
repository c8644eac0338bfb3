package slab

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// TestNothingFaults touches objects of no bytes, of all that hand them out.
func TestNothingFaults(t *testing.T) {
	h := open(t, Config{Hardened: true})
	forms := map[string]func() []byte{
		"Alloc":      func() []byte { return h.Alloc(0, 8) },
		"AllocDirty": func() []byte { return h.AllocDirty(0, 8) },
		"Local":      func() []byte { return h.Local().Alloc(0, 8) },
		"Realloc":    func() []byte { return h.Realloc(h.Alloc(10, 8), 0) },
		"New":        func() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(New[struct{}](h))), 0) },
		"MakeSlice": func() []byte {
			return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(MakeSlice[int](h, 0, 0)))), 0)
		},
	}
	for name, alloc := range forms {
		b := alloc()
		if len(b) != 0 || cap(b) != 0 || h.Size(b) != 0 {
			t.Errorf("%s: length %d, capacity %d, Size %d", name, len(b), cap(b), h.Size(b))
		}
		for _, at := range []int{-1, 0, 1, 63} {
			for what, touch := range map[string]func(p *byte){"read": func(p *byte) { sink = *p }, "write": func(p *byte) { *p = 1 }} {
				p := (*byte)(unsafe.Add(addr(b), at))
				var fault *guard.Fault
				if err := guard.Catch(func() { touch(p) }); !errors.As(err, &fault) || fault.Addr != uintptr(unsafe.Pointer(p)) || fault.Kind != guard.Guarded {
					t.Errorf("%s: %s at %d: %v", name, what, at, err)
				}
			}
		}
		h.Free(b)
		for op, f := range map[string]func(){
			"slab.Free":    func() { h.Free(b) },
			"slab.Size":    func() { h.Size(b) },
			"slab.Realloc": func() { h.Realloc(b, 10) },
		} {
			if v := violationOf(t, f); v == nil || v.Op != op || v.Kind != map[bool]guard.Kind{true: guard.DoubleFree, false: guard.UseAfterFree}[op == "slab.Free"] || v.Detail != "freed already, or never allocated" || v.Addr != address(b) {
				t.Errorf("%s, then %s of what was freed: %v", name, op, v)
			}
		}
	}
}

var sink byte

// TestNothingIsAnObject makes many objects of no bytes, and others where they were.
func TestNothingIsAnObject(t *testing.T) {
	h := open(t, Config{Hardened: true})
	for range 3 {
		seen := map[uintptr]bool{}
		var all [][]byte
		for i := range 5000 {
			b := h.Alloc(0, 8)
			if seen[address(b)] || address(b)%sizeclass.ZeroPitch != 0 {
				t.Fatalf("object %d is at %#x, as another: %v", i, address(b), seen[address(b)])
			}
			seen[address(b)] = true
			all = append(all, b)
		}
		h.check()
		if s := h.Stats(); s.Live != 0 || s.Classes[0].Size != 0 || s.Classes[0].Live != len(all) {
			t.Errorf("%+v", s)
		}
		for _, b := range all {
			if grown := h.Realloc(b, 64); zero(grown) != nil {
				t.Fatal(zero(grown))
			} else {
				h.Free(grown)
			}
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		h.check()
		// What was inaccessible is taken for slots.
		for _, b := range [][]byte{h.Alloc(60000, 8), h.Alloc(60000, 8)} {
			fill(b, 1)
			h.Free(b)
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingAligned asks for objects of no bytes with alignments: where no slot is aligned so, it is a
// region of its own with nothing in it.
func TestNothingAligned(t *testing.T) {
	h := open(t, Config{Hardened: true})
	for i := range 20 {
		keep := h.Alloc(1<<20+i%7*4096, 8) // shifts the next mapping
		for align := 1; align <= maxAlign; align *= 2 {
			b := h.Alloc(0, align)
			if address(b)%uintptr(align) != 0 || h.Size(b) != 0 {
				t.Fatalf("%#x is not aligned to %d, or its Size is %d", address(b), align, h.Size(b))
			}
			if guard.Catch(func() { poke(b, 0, 1) }) == nil || guard.Catch(func() { poke(b, -1, 1) }) == nil && align <= sizeclass.ZeroPitch {
				t.Errorf("aligned to %d: a touch does not fault", align)
			}
			h.Free(b)
			if v := violationOf(t, func() { h.Free(b) }); v == nil || v.Addr != address(b) {
				t.Errorf("aligned to %d, freed twice: %v", align, v)
			}
		}
		h.Free(keep)
	}
	if s := h.Stats(); s.Live != 0 {
		t.Errorf("%+v", s)
	}
}

// TestPoolOfNothing has handles as any other.
func TestPoolOfNothing(t *testing.T) {
	for _, hardened := range []bool{false, true} {
		p := poolFor[struct{}](t, Config{Hardened: hardened})
		one, two := p.Get(), p.Get()
		x := HandleOf(p, one)
		if at, ok := x.Deref(p); !ok || at != one || x == HandleOf(p, two) {
			t.Errorf("hardened %v: %v names %p, %p", hardened, x, at, two)
		}
		p.Put(one)
		if _, ok := x.Deref(p); ok || p.Len() != 1 {
			t.Errorf("hardened %v: it was put back, %d are there", hardened, p.Len())
		}
		n := 0
		for range p.All() {
			n++
		}
		if n != 1 {
			t.Errorf("hardened %v: %d objects", hardened, n)
		}
	}
}

// TestFreeKnowsTheSize frees objects that were allocated with other sizes.
func TestFreeKnowsTheSize(t *testing.T) {
	type four [4]byte
	for _, large := range []int{0, 2 << 20} { // 0: the object fits into a slot
		h := open(t, Config{Hardened: true})
		n := 12 + large
		for _, c := range []struct {
			name string
			free func(p unsafe.Pointer)
			fine bool
		}{
			{"as what it is", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*byte)(p), n)) }, true},
			{"a part of it", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*byte)(p), n-1)) }, true},
			{"nothing of it", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*byte)(p), 0)) }, true},
			{"other elements", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*four)(p), n/4)) }, true},
			{"one too many", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*byte)(p), n+1)) }, false},
			{"elements that do not fit", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*[8]byte)(p), n/8)) }, n%8 == 0},
			{"elements of no bytes", func(p unsafe.Pointer) { FreeSlice(h, unsafe.Slice((*struct{})(p), 1)) }, false},
			{"one of them", func(p unsafe.Pointer) { Free(h, (*byte)(p)) }, false},
			{"a larger one", func(p unsafe.Pointer) { Free(h, (*[4 << 20]byte)(p)) }, false},
			{"no bytes", func(p unsafe.Pointer) { Free(h, (*struct{})(p)) }, false},
		} {
			b := h.Alloc(n, 8)
			v := violationOf(t, func() { c.free(addr(b)) })
			if c.fine != (v == nil) || v != nil && (v.Kind != guard.WrongSize || v.Detail != "object was asked for with another size" || v.Addr != address(b)) {
				t.Errorf("%d bytes, %s: %v", n, c.name, v)
			}
			if !c.fine {
				h.Free(b) // nothing has changed
			}
		}
		h.check()
	}
	for _, c := range []Config{{}, {Hardened: true}} {
		h := open(t, c)
		Free(h, New[four](h))
		Free(h, New[struct{}](h))
		FreeSlice(h, MakeSlice[four](h, 1, 3)[:2:2])
		FreeSlice(h, MakeSlice[struct{}](h, 5, 9))
		FreeSlice(h, MakeSlice[four](h, 0, 0))
		FreeSlice[four](h, nil)
		Free[four](h, nil)
		h.check()
	}
}
