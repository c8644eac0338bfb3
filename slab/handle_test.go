package slab

import (
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab/internal/sampled"
)

// TestOutsideHandlesOfAnotherPool fills two pools alike, and gives each the handles of the other.
func TestOutsideHandlesOfAnotherPool(t *testing.T) {
	for _, c := range []Config{{}, {Hardened: true}} {
		one, other := openPlainPool(t, c), openPlainPool(t, c)
		for range 3 { // of generations
			var handles, others []Handle[order]
			for i := range uint64(10_000) {
				x, y := one.Get(), other.Get()
				x.id, y.id = i, i
				handles, others = append(handles, HandleOf(one, x)), append(others, HandleOf(other, y))
			}
			for name, c := range map[string]struct {
				of, by  []Handle[order]
				in, its *Pool[order]
			}{"one": {handles, others, one, other}, "other": {others, handles, other, one}} {
				for i, x := range c.of {
					if object, ok := x.Deref(c.in); !ok || object.id != uint64(i) {
						t.Fatalf("%s refuses its own handle %d", name, i)
					}
					if x.IsNil() || x.generation%2 == 0 {
						t.Fatalf("%s: handle %d is %+v", name, i, x)
					}
					if _, ok := x.Deref(c.its); ok {
						t.Fatalf("handle %d of %s is taken by the other pool", i, name)
					}
				}
			}
			for i := range handles {
				x, _ := handles[i].Deref(one)
				y, _ := others[i].Deref(other)
				one.Put(x)
				other.Put(y)
				if _, ok := handles[i].Deref(one); ok {
					t.Fatal("a stale handle is taken")
				}
			}
		}
	}
}

// TestOutsideSampledHandles does so where each object is sampled: in their handles, too, generations are
// salted.
func TestOutsideSampledHandles(t *testing.T) {
	sampleOneIn(t, 1)
	one, other := openPlainPool(t, Config{}), openPlainPool(t, Config{})
	x, y := one.Get(), other.Get()
	name := HandleOf(one, x)
	if at, ok := name.Deref(one); !ok || at != x || name.at < sampledHandles {
		t.Fatalf("%+v names %p, want %p", name, at, x)
	}
	if _, ok := name.Deref(other); ok {
		t.Error("the handle is taken by the other pool")
	}
	_, generation, _ := sampled.Name(one.heap.id(), unsafe.Pointer(x))
	if _, ok := (Handle[order]{name.at, generation}).Deref(one); ok {
		t.Error("a handle without the salt is taken")
	}
	one.Put(x)
	if _, ok := name.Deref(one); ok {
		t.Error("a stale handle is taken")
	}
	other.Put(y)
}

// TestForgedHandlesInsideObjects follows handles that name the middle of a live object, with its generation.
func TestForgedHandlesInsideObjects(t *testing.T) {
	p, err := OpenPool[[96]byte](Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 100 {
		x := HandleOf(p, p.Get())
		for granules := uint32(1); granules < 6; granules++ {
			forged := x
			forged.at += granules
			if _, ok := forged.Deref(p); ok {
				t.Fatalf("a handle of the byte %d of an object is good", granules*16)
			}
		}
	}
}
