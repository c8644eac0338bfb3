package slab

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// panicOf returns what f panics with.
func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

// TestMisuse is what a Heap catches in both modes, and when.
func TestMisuse(t *testing.T) {
	var outside [64]byte
	hardened := map[string]string{ // what is otherwise there
		"late free of a slot handed out again": "slab.Free: freed already",                              // it is not handed out so soon
		"free of a slot never allocated":       "slab.Free: pointer that is not the start of an object", // slots are longer
	}
	for _, c := range []struct {
		name, want string // "" is not caught
		do         func(h *Heap, l *Local)
	}{
		{"double free", "slab.Free: freed already, or never allocated", func(h *Heap, l *Local) {
			b := h.Alloc(100)
			h.Free(b)
			h.Free(b)
		}},
		{"double free by a Local", "slab.Free: freed already", func(h *Heap, l *Local) {
			b := h.Alloc(100)
			h.Free(b)
			l.Free(b)
		}},
		{"double free after a purge", "slab.Free: freed already", func(h *Heap, l *Local) {
			b := h.Alloc(100)
			h.Free(b)
			if err := h.Purge(); err != nil {
				t.Error(err)
			}
			h.Free(b)
		}},
		{"double free of a large object", "slab.Free: freed already", func(h *Heap, l *Local) {
			b := h.Alloc(2 << 20)
			h.Free(b)
			h.Free(b)
		}},
		{"interior free", "slab.Free: pointer that is not the start of an object", func(h *Heap, l *Local) { h.Free(h.Alloc(100)[16:]) }},
		{"misaligned free", "slab.Free: pointer that is not the start of an object", func(h *Heap, l *Local) { l.Free(h.Alloc(100)[1:]) }},
		{"interior free of a large object", "slab.Free: pointer that is not the start of an object", func(h *Heap, l *Local) { h.Free(h.Alloc(2 << 20)[4096:]) }},
		{"free of a slot never allocated", "slab.Free: freed already, or never allocated", func(h *Heap, l *Local) {
			h.Free(behind(h.Alloc(64), 64))
		}},
		{"free of Go memory", "slab.Free: pointer into other memory", func(h *Heap, l *Local) { h.Free(outside[:]) }},
		{"free to another heap", "slab.Free: pointer into other memory", func(h *Heap, l *Local) {
			other, err := Open(Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			h.Free(other.Alloc(100))
		}},
		{"size of what was freed", "slab.Size: freed already", func(h *Heap, l *Local) {
			b := h.Alloc(100)
			h.Free(b)
			h.Size(b)
		}},
		{"realloc of what was freed", "slab.Realloc: freed already", func(h *Heap, l *Local) {
			b := h.Alloc(100)
			h.Free(b)
			h.Realloc(b, 200)
		}},
		{"alloc after close", "slab.Alloc: use after Close", func(h *Heap, l *Local) { h.Close(); h.Alloc(1) }},
		{"local alloc after close", "slab.Alloc: use after Close", func(h *Heap, l *Local) { h.Close(); l.Alloc(1) }},
		{"large alloc after close", "slab.Alloc: use after Close", func(h *Heap, l *Local) { h.Close(); h.Alloc(2 << 20) }},
		{"free after close", "slab.Free: use after Close", func(h *Heap, l *Local) {
			b := h.Alloc(1)
			h.Close()
			h.Free(b)
		}},
		{"local free after close", "slab.Free: use after Close", func(h *Heap, l *Local) {
			b := h.Alloc(1)
			h.Close()
			l.Free(b)
		}},
		{"purge after close", "slab.Purge: use after Close", func(h *Heap, l *Local) { h.Close(); h.Purge() }},
		{"local of a closed heap", "slab.Local: use after Close", func(h *Heap, l *Local) { h.Close(); h.Local() }},
		{"negative size", "slab: -1 bytes: the size must not be negative", func(h *Heap, l *Local) { h.Alloc(-1) }},
		{"negative size, Local", "slab: -1 bytes: the size must not be negative", func(h *Heap, l *Local) { l.AllocDirty(-1) }},
		{"alignment", "slab: alignment 3 must be a power of two", func(h *Heap, l *Local) { h.AllocAligned(8, 3) }},
		{"type with pointers", "is a string", func(h *Heap, l *Local) { New[struct{ Name string }](h) }},
		{"slice of pointers", "pointer", func(h *Heap, l *Local) { MakeSlice[*int](h, 1, 1) }},
		{"slice length", "length 2 and capacity 1 cannot be", func(h *Heap, l *Local) { MakeSlice[int](h, 2, 1) }},
		{"slice overflow", "more than addresses can hold", func(h *Heap, l *Local) { MakeSlice[int](h, 0, math.MaxInt) }},
		{"late free of a slot handed out again", "", func(h *Heap, l *Local) {
			b := l.Alloc(100)
			l.Free(b)
			l.Alloc(100) // the same slot
			l.Free(b)
		}},
		{"double free in a batch", "slab.Free: freed already", func(h *Heap, l *Local) {
			many := make([][]byte, 100)
			h.AllocN(many, 64)
			many[70] = many[30]
			h.FreeN(many)
		}},
		{"batch of negative sizes", "slab: -1 bytes: the size must not be negative", func(h *Heap, l *Local) { h.AllocN(make([][]byte, 2), -1) }},
		{"nil", "", func(h *Heap, l *Local) { h.Free(nil); l.Free(nil); Free[int](h, nil) }},
		{"reslice from the start", "", func(h *Heap, l *Local) { h.Free(h.Alloc(100)[:0]) }},
	} {
		for _, mode := range []Config{{}, {Hardened: true}} {
			want := c.want
			if other, ok := hardened[c.name]; ok && mode.Hardened {
				want = other
			}
			t.Run(c.name, func(t *testing.T) {
				mode.Reserve = leastReserve
				h := open(t, mode)
				expectPanic(t, want, func() { c.do(h, h.Local()) })
				if want == "" || !h.closed.Load() {
					h.check()
				}
			})
		}
	}
}

// expectPanic checks what f panics with: want is a part of the error, which is a Violation if it
// begins with the call; "" if f must not.
func expectPanic(t *testing.T, want string, f func()) {
	t.Helper()
	p := panicOf(f)
	if want == "" {
		if p != nil {
			t.Fatalf("panics with %v", p)
		}
		return
	}
	err, _ := p.(error)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("panics with %v, want %q", p, want)
	}
	var v *guard.Violation
	if errors.As(err, &v) != strings.HasPrefix(want, "slab.") {
		t.Errorf("%T", p)
	}
}

// TestMisuseLeavesTheHeapWhole frees what must not be freed, many times, and looks for damage.
func TestMisuseLeavesTheHeapWhole(t *testing.T) {
	h := open(t, Config{})
	var live []held
	for i := range 2000 {
		o := held{h.Alloc(i % 600), byte(i)}
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

// TestLocalCloses checks the errors of Local.Close.
func TestLocalCloses(t *testing.T) {
	h := open(t, Config{})
	one, two := h.Local(), h.Local()
	one.Free(one.Alloc(10))
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
