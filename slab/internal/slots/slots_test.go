package slots

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// fixture is a table, and the region that it describes.
type fixture struct {
	Table
	region *region.Region
}

func open(t *testing.T, c Config) *fixture {
	t.Helper()
	r, err := region.Reserve(region.Config{Name: t.Name(), Size: c.Units * unit})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{region: r}
	if err := f.Open(r, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Region().Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// add adds a slab, and checks what the table says about every address in it.
func (f *fixture) add(t *testing.T, c uint8, first int) {
	t.Helper()
	if err := f.Add(c, first, true); err != nil {
		t.Fatal(err)
	}
	f.Check(c, func(uint32, *Record) {})
}

// TestEveryAddress makes a slab of each class live, slot by slot, and asks of every address in it, and around it,
// whether a live object starts there.
func TestEveryAddress(t *testing.T) {
	for c := range uint8(sizeclass.Number) {
		k := &sizeclass.Table[c]
		f := open(t, Config{Units: 64, Class: NoClass})
		first := 3 // so that large slots lie across multiples of their size
		f.add(t, c, first)
		items := make([]Item, k.Slots)
		if n := f.Take(uint32(first), items); n != len(items) {
			t.Fatalf("class %d: %d slots of %d", c, n, len(items))
		}
		for i, it := range items { // filled from the end downwards
			if want := uintptr(first*unit) + uintptr(len(items)-1-i)*uintptr(k.Pitch); it.Offset() != want {
				t.Fatalf("class %d: slot %d lies at %d, want %d", c, i, it.Offset(), want)
			}
			s := f.State(it.State())
			if !f.Holds(c, it) || !s.IsCached() || !s.IsClean() || f.IsObject(f.At(it)) {
				t.Fatalf("class %d: slot %d has the state %#x", c, i, *s)
			}
			switch {
			case i%5 == 0:
				if n, slab, r := f.Return(c, items[i:i+1]); n != 1 || int(slab) != first || r.Free != uint32(i/5+1) {
					t.Fatal("not returned")
				}
			case i%3 != 0: // the others stay cached
				*s = s.Claimed()
			}
		}
		step := 1
		if testing.Short() {
			step = 13
		}
		for off := first*unit - 100; off < (first+int(k.Units))*unit+100; off += step {
			at := off - first*unit
			slot := at / int(k.Pitch)
			live := at >= 0 && at%int(k.Pitch) == 0 && slot < int(k.Slots) && (int(k.Slots)-1-slot)%3 != 0 && (int(k.Slots)-1-slot)%5 != 0
			if got := f.IsObject(unsafe.Add(f.Base(), off)); got != live {
				t.Fatalf("class %d, offset %d in the slab: live %v, want %v", c, at, got, live)
			}
			in := at >= 0 && slot < int(k.Slots)
			if it, ok := f.Around(unsafe.Add(f.Base(), off)); ok != in || ok && int(it.Offset()) != first*unit+slot*int(k.Pitch) {
				t.Fatalf("class %d, offset %d in the slab: around it is %v, %v", c, at, it, ok)
			}
		}
	}
}

// TestNoSlab asks of addresses in units that are in no slab, among them those whose lower half is the place that the
// entry leads to.
func TestNoSlab(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) < 8 {
		t.Skip("addresses have 32 bits")
	}
	f := open(t, Config{Units: 3 << 16, Class: NoClass}) // of 12 GiB
	f.add(t, 1, 3<<16-1)
	for high := range uint64(3) {
		for _, low := range []uint64{0, uint64(none), 0xf0, 0x1e, 0xe000_0000, 0xe000_001e, 0xe000_00f0, 0xe000_0010, 0xdfff_fff0, 0xe001_0000, 1, 8} {
			if high<<32+low >= 3<<32-unit {
				continue
			}
			off := uintptr(high<<32 + low)
			if e := f.EntryAt(off); e.InSlab() || e.Cached() != sizeclass.Cached*64 {
				t.Fatalf("offset %#x is in a slab: %#x", off, e)
			}
			i, place := f.EntryAt(off).Locate(off)
			if i >= firstStates {
				t.Fatalf("offset %#x leads to state %d", off, i)
			}
			if s := *f.State(i); s.LiveAt(place) || s.IsCached() {
				t.Fatalf("offset %#x is live", off)
			}
		}
	}
}

// TestBeforeTheFirstSlab looks at the state of the zero item, as a fast path does that finds an empty magazine.
func TestBeforeTheFirstSlab(t *testing.T) {
	f := open(t, Config{Units: 16, Class: NoClass})
	if f.State(Item(0).State()).IsCached() || f.Covers(0) {
		t.Error("there is a slot")
	}
	f.add(t, 5, 0)
	if f.State(Item(0).State()).IsCached() || !f.Covers(0) || f.Covers(unit) {
		t.Error("the zero item is a slot")
	}
}

// TestModel adds and removes slabs of all classes, takes slots, returns them, and compares with a map.
func TestModel(t *testing.T) {
	for _, hardened := range []bool{true, false} {
		f := open(t, Config{Units: 400, Hardened: hardened, Class: NoClass})
		r := rand.New(rand.NewPCG(1, 2))
		type slab struct {
			c     uint8
			first uint32
			out   []Item
		}
		var slabs []*slab
		used := make([]bool, 400)
		seen := map[Item]bool{}
		for range 20_000 {
			switch n := r.IntN(10); {
			case n == 0 && len(slabs) < 30:
				c := uint8(1 + r.IntN(sizeclass.Number-1))
				first := r.IntN(400 - int(sizeclass.Table[c].Units))
				fits := true
				for u := range int(sizeclass.Table[c].Units) {
					fits = fits && !used[first+u]
				}
				if !fits {
					continue
				}
				for u := range int(sizeclass.Table[c].Units) {
					used[first+u] = true
				}
				if err := f.Add(c, first, false); err != nil {
					t.Fatal(err)
				}
				slabs = append(slabs, &slab{c: c, first: uint32(first)})
			case len(slabs) == 0:
			case n == 1:
				i := r.IntN(len(slabs))
				s := slabs[i]
				if len(s.out) > 0 {
					continue
				}
				f.Remove(s.first)
				for u := range sizeclass.Table[s.c].Units {
					used[s.first+u] = false
				}
				slabs = append(slabs[:i], slabs[i+1:]...)
			case n < 6:
				s := slabs[r.IntN(len(slabs))]
				free := int(f.Record(s.first).Free)
				if free != int(sizeclass.Table[s.c].Slots)-len(s.out) {
					t.Fatalf("%d slots are free of %d with %d out", free, sizeclass.Table[s.c].Slots, len(s.out))
				}
				got := make([]Item, 1+r.IntN(64))
				got = got[len(got)-f.Take(s.first, got):]
				for _, it := range got {
					if seen[it] || !f.Holds(s.c, it) {
						t.Fatalf("slot %#x is out already", it)
					}
					seen[it] = true
					st := f.State(it.State())
					if *st = st.Claimed(); !f.IsObject(f.At(it)) {
						t.Fatalf("slot %#x is not live", it)
					}
				}
				s.out = append(s.out, got...)
			default:
				s := slabs[r.IntN(len(slabs))]
				for range min(len(s.out), 1+r.IntN(64)) {
					i := r.IntN(len(s.out))
					it := s.out[i]
					if n, _, _ := f.Return(s.c, []Item{it}); n > 0 {
						t.Fatal("a live slot was returned")
					}
					if !f.FreeOnce(it) || f.FreeOnce(it) {
						t.Fatal("it is not freed once")
					}
					// Twice: it is returned once.
					n, first, r := f.Return(s.c, []Item{it, it})
					if n != 1 || first != s.first || r != f.Record(first) {
						t.Fatalf("slot %#x returns to slab %d, want %d: %d", it, first, s.first, n)
					}
					if n, _, _ := f.Return(s.c, []Item{it}); n > 0 {
						t.Fatal("it was returned twice")
					}
					delete(seen, it)
					s.out = append(s.out[:i], s.out[i+1:]...)
				}
			}
		}
		live := map[unsafe.Pointer]bool{}
		for p := range f.Objects() {
			live[p] = true
		}
		for _, s := range slabs {
			f.Check(s.c, func(uint32, *Record) {})
			for _, it := range s.out {
				if !live[f.At(it)] {
					t.Errorf("slot %#x is not among the objects", it)
				}
				delete(live, f.At(it))
			}
		}
		if len(live) > 0 {
			t.Errorf("%d objects that nobody has", len(live))
		}
	}
}

// TestReturn returns runs of slots of two slabs.
func TestReturn(t *testing.T) {
	const c = 40
	k := &sizeclass.Table[c]
	f := open(t, Config{Units: 8, Class: NoClass})
	var items [2][]Item
	for u := range items {
		f.add(t, c, u)
		items[u] = make([]Item, k.Slots)
		f.Take(uint32(u), items[u])
	}
	want := func(give []Item, n int, first uint32, free uint32) {
		t.Helper()
		got, slab, r := f.Return(c, give)
		if got != n || n > 0 && (slab != first || r.Free != free) {
			t.Errorf("%d of slab %d, with %d free, want %d of %d with %d", got, slab, r.Free, n, first, free)
		}
	}
	mixed := append(append([]Item{}, items[0][:5]...), items[1][:3]...)
	want(mixed, 1, 0, 1) // a slab's first free slot
	want(mixed[1:], 4, 0, 5)
	want(mixed[5:], 1, 1, 1)
	want(mixed[6:], 2, 1, 3)
	want(mixed, 0, 0, 0)
	want(items[0][5:], int(k.Slots)-5, 0, k.Slots)
	want([]Item{items[1][3], 0, items[1][4]}, 1, 1, 4)
	want([]Item{0}, 0, 0, 0)
	f.Remove(0)
	want(items[0], 0, 0, 0)
	f.Check(c, func(uint32, *Record) {})
}

// TestList moves slabs in and out of lists.
func TestList(t *testing.T) {
	f := open(t, Config{Units: 8, Class: NoClass})
	var l List
	for u := range uint32(5) {
		f.add(t, 2, int(u))
		f.Push(&l, u)
	}
	for _, u := range []uint32{2, 4, 0, 1} { // the middle, the first, the last, and one of two
		f.Unlink(&l, u)
		if f.CheckList(l)[u] {
			t.Errorf("slab %d is still listed", u)
		}
	}
	if len(f.CheckList(l)) != 1 || l.First() != 3 {
		t.Errorf("%v", f.CheckList(l))
	}
}

// TestGenerations begins and ends generations.
func TestGenerations(t *testing.T) {
	c := sizeclass.Of(48)
	f := open(t, Config{Units: 4, Class: int(c)})
	f.add(t, c, 0)
	seen := map[*uint32]bool{}
	for i := range uintptr(sizeclass.Table[c].Slots) {
		g := f.Generation(i * 48)
		if seen[g] {
			t.Fatal("two slots have one generation")
		}
		seen[g] = true
		*g++
		f.EndGeneration(i * 48)
		f.EndGeneration(i * 48) // as two do at the same moment
		if *g%2 != 0 || *g < 2 {
			t.Fatalf("generation %d", *g)
		}
	}
}
