package native

import (
	"debug/elf"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// surgery has good objects, and the places in them to change: the bytes of headers and tables.
type surgery struct {
	objects [][]byte
	places  [][]int // offsets in each object
}

func openSurgery(t testing.TB) *surgery {
	s := &surgery{}
	for _, flags := range [][]string{{"-Wl,--hash-style=gnu"}, {"-Wl,--hash-style=sysv", "-Wl,-z,noseparate-code"}, {"-Wl,-z,pack-relative-relocs", "-DALIGN=32768"}} {
		p := openPatient(t, build(t, kernels, flags...))
		var places []int
		stretch := func(from, n uint64) {
			for i := range n {
				places = append(places, int(from+i))
			}
		}
		stretch(0, 64+56*uint64(len(p.elf.Progs)))
		for _, x := range p.elf.Sections {
			// 0x13 is SHT_RELR.
			if slices.Contains([]elf.SectionType{elf.SHT_DYNAMIC, elf.SHT_DYNSYM, elf.SHT_RELA, elf.SHT_GNU_HASH, elf.SHT_HASH, 0x13}, x.Type) {
				stretch(x.Offset, x.FileSize)
			}
		}
		s.objects, s.places = append(s.objects, p.data), append(s.places, places)
	}
	return s
}

// operate loads an object after some edits of three bytes each: two say which place to change, one is the new
// value. The object is loaded and closed, or refused, and no memory stays committed.
func (s *surgery) operate(t testing.TB, dir string, which uint8, edits []byte) (loaded bool) {
	i := int(which) % len(s.objects)
	data := slices.Clone(s.objects[i])
	for ; len(edits) >= 3; edits = edits[3:] {
		data[s.places[i][(int(edits[0])<<8|int(edits[1]))%len(s.places[i])]] = edits[2]
	}
	path := filepath.Join(dir, "changed.so")
	stacktest.NoError(t, os.WriteFile(path, data, 0o600))
	before := guard.Committed()
	o, err := LoadObject(path)
	if err == nil {
		for name := range o.functions {
			if _, err := o.Func(name); err != nil {
				t.Error(err)
			}
		}
		err = o.Close()
		loaded = err == nil
		stacktest.NoError(t, err)
	}
	if guard.Committed() != before {
		t.Fatalf("%d bytes stay committed", guard.Committed()-before)
	}
	return loaded
}

func FuzzObject(f *testing.F) {
	s := openSurgery(f)
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{0, 18, 243})
	f.Add(uint8(2), []byte{0, 70, 255, 0, 120, 1})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) { s.operate(t, dir, which, edits) })
}

// TestChangedObjects does the same at random, in every run of the tests.
func TestChangedObjects(t *testing.T) {
	s := openSurgery(t)
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	rng := rand.New(rand.NewPCG(1, 2))
	dir, loaded := t.TempDir(), 0
	for range rounds {
		edits := make([]byte, 3*(1+rng.IntN(3)))
		for i := range edits {
			edits[i] = byte(rng.Uint32())
		}
		if s.operate(t, dir, uint8(rng.Uint32()), edits) {
			loaded++
		}
	}
	t.Logf("%d of %d could be loaded all the same", loaded, rounds)
}
