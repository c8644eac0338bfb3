package slots

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/slab/internal/sizeclass"
)

// TestReferences refers to all slots of a slab of each class, frees them in the ways of a heap, and gives their memory to
// a slab of another class.
func TestReferences(t *testing.T) {
	f := open(t, Config{Units: 64, Class: NoClass})
	defer func() {
		if err := f.ReferencesRegion().Close(); err != nil {
			t.Error(err)
		}
	}()
	type reference struct{ at, generation uint32 }
	var stale []reference
	for c := range uint8(sizeclass.Number) {
		k, first := &sizeclass.Table[c], 3
		f.add(t, c, first)
		items := make([]Item, k.Slots)
		f.Take(uint32(first), items)
		for i, it := range items {
			if _, ok, err := f.Refer(it); ok || err != nil {
				t.Fatalf("class %d: a cached slot is referred to: %v", c, err)
			}
			s := f.State(it.State())
			*s = s.Claimed()
			generation, ok, err := f.Refer(it)
			if !ok || err != nil || generation == 0 || generation > MostGeneration {
				t.Fatalf("class %d: generation %d, %v, %v", c, generation, ok, err)
			}
			if again, ok, err := f.Refer(it); again != generation || !ok || err != nil {
				t.Fatalf("class %d: generation %d and then %d, %v, %v", c, generation, again, ok, err)
			}
			r := reference{uint32(it.Offset() / sizeclass.Granule), generation}
			if class, got, ok := f.Referenced(r.at, r.generation); !ok || class != c || got != it {
				t.Fatalf("class %d: item %#x is named by %+v: %#x of class %d, %v", c, it, r, got, class, ok)
			}
			if _, _, ok := f.Referenced(r.at+1, r.generation); ok {
				t.Fatalf("class %d: the granule behind has an object", c)
			}
			if _, _, live := f.Live(f.At(it)); live {
				t.Fatalf("class %d: Live finds a referenced slot", c)
			}
			if _, got, ok := f.Object(f.At(it)); !ok || got != it {
				t.Fatalf("class %d: Object does not find a referenced slot", c)
			}
			if i%2 == 0 {
				*s = s.Claimed().Freed()
			} else if !f.FreeOnce(it) || f.FreeOnce(it) {
				t.Fatalf("class %d: a referenced slot is not freed once", c)
			}
			if !f.Holds(c, it) {
				t.Fatalf("class %d: a referenced slot that was freed is not cached", c)
			}
			stale = append(stale, r)
		}
		for _, r := range stale[max(0, len(stale)-10_000):] {
			if _, _, ok := f.Referenced(r.at, r.generation); ok {
				t.Fatalf("class %d: the stale reference %+v is good", c, r)
			}
		}
		f.Remove(uint32(first))
	}
}

// TestGenerationZero meets the number that the salt would make the generation 0, and the end of the numbers.
func TestGenerationZero(t *testing.T) {
	f := open(t, Config{Units: 64, Class: NoClass})
	f.add(t, 1, 0)
	it := make([]Item, 1)
	f.Take(0, it)
	s := f.State(it[0].State())
	*s = s.Claimed()
	if _, _, err := f.Refer(it[0]); err != nil {
		t.Fatal(err)
	}
	defer f.ReferencesRegion().Close()
	for _, c := range []struct{ count, salt, want, wantCount uint32 }{
		{4, 5, 6 ^ 5, 6}, // 5 gives 0
		{4, 5 | 1<<31, 6 ^ 5, 6},
		{1<<32 - 1, 0, 1, 1},              // so does the count after this
		{MostGeneration, 0, 1, 1<<31 + 1}, // of 31 bits
	} {
		*s = s.Claimed()
		f.record(0).referenced, f.references.Load().salt = c.count, c.salt
		if got, ok, err := f.Refer(it[0]); got != c.want || !ok || err != nil || f.record(0).referenced != c.wantCount {
			t.Errorf("%+v: generation %d, count %d, %v, %v", c, got, f.record(0).referenced, ok, err)
		}
	}
}

// TestReferencesShort reserves fewer addresses than all states would need.
func TestReferencesShort(t *testing.T) {
	f := open(t, Config{Units: 64, Class: NoClass})
	f.add(t, 1, 0)
	items := make([]Item, sizeclass.Table[1].Slots)
	f.Take(0, items)
	if region.PageSize() > 4096 {
		t.Skip("one OS page serves all states of the slab")
	}
	g, err := region.Reserve(region.Config{Name: "short", Size: (areaSize + 1024) * 4})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	f.references.Store(&references{table: table{base: g.Base(), region: g, size: g.Size()}})
	good, refused := 0, 0
	for _, it := range items {
		s := f.State(it.State())
		*s = s.Claimed()
		if _, ok, err := f.Refer(it); ok {
			good++
		} else if err != nil {
			refused++
		}
	}
	if good == 0 || refused == 0 || good+refused != len(items) {
		t.Errorf("%d references of %d, %d are refused", good, len(items), refused)
	}
}
