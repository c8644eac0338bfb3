package slab

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

var _ [8]byte = [unsafe.Sizeof(Ref{})]byte{}

// everyMode runs f for heaps that keep what they know of objects in different ways.
func everyMode(t *testing.T, f func(t *testing.T, c Config)) {
	c := Config{Reserve: 64 << 20}
	t.Run("default", func(t *testing.T) { f(t, c) })
	c.Hardened = true
	t.Run("hardened", func(t *testing.T) { f(t, c) })
	c.Hardened = false
	t.Run("sampled", func(t *testing.T) {
		sampleOneIn(t, 1)
		f(t, c)
	})
}

// TestRef follows references to objects of every kind, before and after Free.
func TestRef(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		l := h.Local()
		for _, a := range []struct{ size, align int }{
			{0, 1}, {1, 1}, {16, 16}, {48, 8}, {100, 8}, {100, 64}, {3000, 4096}, {8 << 10, 8}, {20_000, 8}, {900_000, 8},
			{sizeclass.Largest, 8}, {large, 8}, {100, 1 << 20}, {4 << 20, 8},
		} {
			for _, alloc := range []func(int, int) []byte{h.Alloc, l.Alloc, h.AllocDirty, l.AllocDirty} {
				b := alloc(a.size, a.align)
				if len(b) > 0 {
					b[0], b[len(b)-1] = 1, 2
				}
				r := h.Ref(b)
				if r.IsNil() || r != h.Ref(b[:0]) {
					t.Fatalf("%+v: the references %v and %v to one object", a, r, h.Ref(b))
				}
				got := h.Bytes(r)
				if addr(got) != addr(b) || len(got) != h.Size(b) || cap(got) != len(got) || !bytes.Equal(got[:len(b)], b) {
					t.Fatalf("%+v: %d bytes at %p for %d at %p, Size is %d", a, len(got), addr(got), len(b), addr(b), h.Size(b))
				}
				if a.size%2 == 0 {
					h.Free(got)
				} else {
					l.Free(b)
				}
				if _, ok := h.TryBytes(r); ok {
					t.Fatalf("%+v: the reference outlives its object", a)
				}
				if v := violationOf(t, func() { h.Bytes(r) }); v == nil || v.Kind != guard.UseAfterFree {
					t.Fatalf("%+v: Bytes of a stale reference: %v", a, v)
				}
				if v := violationOf(t, func() { h.Free(b) }); v == nil || v.Kind != guard.DoubleFree {
					t.Fatalf("%+v: Free of what was freed: %v", a, v)
				}
				again := alloc(a.size, a.align) // in the same place, most often
				if _, ok := h.TryBytes(r); ok {
					t.Fatalf("%+v: the reference names the next object", a)
				}
				if x := h.Ref(again); x == r {
					t.Fatalf("%+v: two objects have the reference %v", a, x)
				}
				h.Free(again)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		h.check()
	})
}

// TestRefRealloc follows references to objects that are resized: they are good if the object stays in its place.
func TestRefRealloc(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		stayed := 0
		for _, sizes := range [][2]int{{100, 90}, {100, 112}, {100, 1000}, {large, large - 100}, {large, 2 * large}, {large, 100}, {100, large}, {4 << 20, 3 << 20}} {
			b := h.Alloc(sizes[0], 8)
			b[0] = 7
			r := h.Ref(b)
			out := h.Realloc(b, sizes[1])
			got, ok := h.TryBytes(r)
			if stays := addr(out) == addr(b); ok != stays || ok && (addr(got) != addr(out) || len(got) != h.Size(out)) {
				t.Errorf("%v: the object stays: %v, its reference: %v; %d bytes of %d", sizes, stays, ok, len(got), h.Size(out))
			}
			if ok {
				stayed++
			}
			if got := h.Bytes(h.Ref(out)); got[0] != 7 {
				t.Errorf("%v: other contents", sizes)
			}
			h.Free(out)
		}
		if stayed == 0 && !c.Hardened && t.Name() == "TestRefRealloc/default" {
			t.Error("no object stayed in its place")
		}
		h.check()
	})
}

// TestRefMisuse takes references of what is no object, and follows what are no references.
func TestRefMisuse(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		other, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close() })
		if _, ok := h.TryBytes(Ref{}); ok {
			t.Error("the zero Ref names an object")
		}
		if v := violationOf(t, func() { h.Bytes(Ref{}) }); v == nil || v.Kind != guard.InvalidArgument {
			t.Errorf("Bytes of the zero Ref: %v", v)
		}
		for _, size := range []int{100, large} {
			b := h.Alloc(size, 8)
			r := h.Ref(b)
			other.Ref(other.Alloc(size, 8))
			if _, ok := other.TryBytes(r); ok {
				t.Error("a reference of another heap names an object")
			}
			for at := range uint64(8) { // other places, generations and names
				for _, word := range []uint64{r.word + 1 + at, r.word ^ 1<<(32+at), r.word ^ 1<<63, r.word ^ 1<<31, at, at << 32, at<<32 | 1<<63, ^at} {
					if _, ok := h.TryBytes(Ref{word}); ok {
						t.Errorf("the forged reference %#x names an object, as %#x does", word, r.word)
					}
				}
			}
			kinds := map[string][]byte{"nil": nil, "inside": b[16:], "Go": make([]byte, 10), "foreign": other.Alloc(size, 8)}
			h.Free(b)
			kinds["freed"] = b
			for name, b := range kinds {
				if v := violationOf(t, func() { h.Ref(b) }); v == nil || v.Op != "slab.Ref" || v.Kind != guard.InvalidPointer && (v.Kind != guard.UseAfterFree || name != "freed" && name != "inside") {
					t.Errorf("Ref of %s: %v", name, v)
				}
			}
		}
	})
	for _, h := range []*Heap{nil, new(Heap)} {
		for op, f := range map[string]func(){"Ref": func() { h.Ref(nil) }, "Bytes": func() { h.Bytes(Ref{1}) }, "TryBytes": func() { h.TryBytes(Ref{}) }, "Reset": h.Reset} {
			if v := violationOf(t, f); v == nil || v.Kind != guard.ZeroValue {
				t.Errorf("%s of a zero heap: %v", op, v)
			}
		}
	}
}

// TestRefClosed calls what makes and follows references after Close.
func TestRefClosed(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		b := h.Alloc(100, 8)
		r := h.Ref(b)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		for op, f := range map[string]func(){
			"Ref": func() { h.Ref(b) }, "Bytes": func() { h.Bytes(r) }, "TryBytes": func() { h.TryBytes(r) }, "Reset": h.Reset,
		} {
			if v := violationOf(t, f); v == nil || v.Kind != guard.UseAfterClose {
				t.Errorf("%s after Close: %v", op, v)
			}
		}
	})
}

// TestRefGenerations lets slabs of several classes have the same memory, one after the other: references stay stale.
func TestRefGenerations(t *testing.T) {
	h := open(t, Config{Reserve: 2 << 20, Limit: 256 << 10})
	var stale []Ref
	seen := map[Ref]bool{}
	for round := range 60 {
		size := []int{16, 48, 64, 400, 3000, 60_000}[round%6]
		var all [][]byte
		for {
			b, err := h.TryAlloc(size, 8)
			if err != nil {
				break
			}
			r := h.Ref(b)
			if seen[r] {
				t.Fatalf("round %d: the reference %#x was there before", round, r.word)
			}
			seen[r] = true
			all, stale = append(all, b), append(stale, r)
		}
		if len(all) == 0 {
			t.Fatal("no object")
		}
		live := len(all)
		for i, r := range stale {
			if _, ok := h.TryBytes(r); ok != (i >= len(stale)-live) {
				t.Fatalf("round %d: reference %d of %d is good: %v", round, i, len(stale), ok)
			}
		}
		if round%2 == 0 {
			h.FreeN(all)
		} else {
			h.Reset()
		}
		if err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		if len(stale) > 50_000 {
			stale = slices.Clone(stale[len(stale)-20_000:])
		}
	}
}

// TestRefReuse shows that the slot of an object with references goes into the cache that slots of others go to, and that
// the next object there has none.
func TestRefReuse(t *testing.T) {
	if race.Enabled {
		t.Skip("goroutines change their processors")
	}
	h := open(t, Config{})
	l := h.Local()
	b := l.Alloc(64, 8)
	for range 1000 {
		r := h.Ref(b)
		l.Free(b)
		again := l.Alloc(64, 8)
		if addr(again) != addr(b) {
			t.Fatal("the slot that was freed last is not handed out next")
		}
		if _, ok := h.TryBytes(r); ok {
			t.Fatal("a stale reference names the next object")
		}
		if _, _, ok := h.slots.Live(addr(again)); !ok {
			t.Fatal("a new object is taken for a referenced one")
		}
	}
	l.Free(b)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefNoMemory lets the budget end where references need books.
func TestRefNoMemory(t *testing.T) {
	h := open(t, Config{})
	var all [][]byte
	for range 100_000 {
		all = append(all, h.Alloc(16, 8))
	}
	defer guard.SetBudget(guard.Budget{})
	if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed()}); err != nil {
		t.Fatal(err)
	}
	b := all[len(all)-1]
	if _, err := h.TryRef(b); !errors.Is(err, guard.ErrNoMemory) {
		t.Fatalf("TryRef without memory: %v", err)
	}
	h.check()
	guard.SetBudget(guard.Budget{})
	if addr(h.Bytes(h.Ref(b))) != addr(b) {
		t.Error("another object")
	}
	h.FreeN(all)
}

// TestRefOnSoft has OnSoft free the object that a Ref is being made for.
func TestRefOnSoft(t *testing.T) {
	h := open(t, Config{})
	var all [][]byte
	for range 100_000 {
		all = append(all, h.Alloc(16, 8))
	}
	b := all[0]
	defer guard.SetBudget(guard.Budget{})
	called := false
	if _, err := guard.SetBudget(guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) {
		called = true
		h.Free(b)
	}}); err != nil {
		t.Fatal(err)
	}
	r := h.Ref(b)
	if _, ok := h.TryBytes(r); ok || !called {
		t.Errorf("OnSoft was called: %v; the reference is good: %v", called, ok)
	}
	guard.SetBudget(guard.Budget{})
	h.FreeN(all[1:])
	h.check()
}

// TestHammerRef has goroutines share a table of references: each replaces objects, reads those of its own, and tries
// references that others may have made stale.
func TestHammerRef(t *testing.T) {
	for _, c := range []Config{{}, {Hardened: true}} {
		h := open(t, c)
		const workers, each = 4, 64
		var table [workers * each]atomic.Uint64
		var wg sync.WaitGroup
		for g := range workers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 5))
				l := h.Local()
				defer l.Close()
				own := map[int]held{}
				drop := func(i int, o held) {
					ref := Ref{table[i].Load()}
					b := h.Bytes(ref)
					if addr(b) != addr(o.b) || o.verify() != nil || ref != h.Ref(o.b) {
						t.Errorf("the reference of %p leads to %p: %v", addr(o.b), addr(b), o.verify())
					}
					if r.IntN(2) == 0 {
						h.Free(b)
					} else {
						l.Free(o.b)
					}
					if _, ok := h.TryBytes(ref); ok {
						t.Error("a stale reference is good")
					}
				}
				for range rounds(20000) {
					i := g*each + r.IntN(each)
					if o, ok := own[i]; ok {
						drop(i, o)
					}
					size := r.IntN(1 << r.IntN(12))
					if r.IntN(200) == 0 {
						size = large
					}
					var b []byte
					if r.IntN(2) == 0 {
						b = h.Alloc(size, 8)
					} else {
						b = l.Alloc(size, 8)
					}
					o := held{b: b, seed: byte(r.Uint32())}
					fill(o.b, o.seed)
					own[i] = o
					table[i].Store(h.Ref(b).word)
					if !race.Enabled { // else the detector reports that others free it
						h.TryBytes(Ref{table[r.IntN(len(table))].Load()})
					}
				}
				for i, o := range own {
					drop(i, o)
				}
			})
		}
		wg.Wait()
		h.check()
		if s := h.Stats(); s.Live != 0 {
			t.Errorf("%d bytes are live", s.Live)
		}
	}
}

// TestHammerFirstRef has goroutines make the first reference of the same objects at the same time: all get the same.
func TestHammerFirstRef(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		for range rounds(300) {
			objects := make([][]byte, 40)
			for i := range objects {
				objects[i] = h.Alloc([]int{16, 100, large}[min(i%20, 2)%(2+i/39)], 8)
			}
			var refs [4][40]Ref
			var wg sync.WaitGroup
			for g := range refs {
				wg.Go(func() {
					for i, b := range objects {
						refs[g][i] = h.Ref(b)
					}
				})
			}
			wg.Wait()
			for i, b := range objects {
				for g := range refs {
					if refs[g][i] != refs[0][i] || addr(h.Bytes(refs[g][i])) != addr(b) {
						t.Fatalf("object %d has the references %v", i, refs)
					}
				}
			}
			h.FreeN(objects)
		}
	})
}
