package index

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// fixture is an index with memory, beside a Go map. An entry's place is its number in hashes, plus 1.
type fixture struct {
	t      *testing.T
	x      Index
	memory []uint64 // keeps the blocks
	parts  []uintptr
	spares []uintptr
	hashes []uint64
	places map[uint32]bool
}

// part is the bytes that the index is given at a time.
const part = 64 * BlockSize

func open(t *testing.T, parts int) *fixture {
	f := &fixture{t: t, memory: make([]uint64, (parts+1)*part/8), places: map[uint32]bool{}}
	base := unsafe.Pointer(unsafe.SliceData(f.memory))
	f.x.Open(base)
	for i := range parts {
		f.spares = append(f.spares, uintptr(i)*part)
	}
	return f
}

func (f *fixture) rehash(place uint32) uint64 { return f.hashes[place-1] }

func (f *fixture) insert(hash uint64) (place uint32) {
	f.t.Helper()
	for !f.x.Ready() {
		if len(f.spares) == 0 {
			f.t.Fatal("the index wants more memory than is due")
		}
		at := f.spares[len(f.spares)-1]
		f.spares = f.spares[:len(f.spares)-1]
		f.parts = append(f.parts, at)
		f.x.Add(at, part)
	}
	f.hashes = append(f.hashes, hash)
	place = uint32(len(f.hashes))
	f.x.Insert(hash, place, f.rehash)
	f.places[place] = true
	return place
}

// find searches for a place.
func (f *fixture) find(place uint32) (s Search, ok bool) {
	s = f.x.Find(f.rehash(place))
	for {
		p, found := s.Next()
		if !found || p == place {
			return s, found
		}
	}
}

func (f *fixture) remove(place uint32) {
	f.t.Helper()
	s, ok := f.find(place)
	if !ok {
		f.t.Fatalf("entry %d is not there", place)
	}
	s.Remove()
	delete(f.places, place)
}

// check compares the index with the map: by searches, and by a walk.
func (f *fixture) check() {
	f.t.Helper()
	f.x.Check()
	if f.x.Len() != len(f.places) {
		f.t.Fatalf("%d entries, want %d", f.x.Len(), len(f.places))
	}
	for p := range f.places {
		if _, ok := f.find(p); !ok {
			f.t.Fatalf("entry %d is not found", p)
		}
	}
	seen := map[uint32]int{}
	for pos, more := (Pos{}), true; more; {
		pos, more = f.x.Walk(pos, f.rehash, func(p uint32) { seen[p]++ })
	}
	for p := range f.places {
		if seen[p] != 1 {
			f.t.Fatalf("Walk visits entry %d %d times", p, seen[p])
		}
	}
	if len(seen) != len(f.places) {
		f.t.Fatalf("Walk visits %d entries of %d", len(seen), len(f.places))
	}
}

// giveBack takes memory back as long as the index has much.
func (f *fixture) giveBack() {
	for len(f.parts) > 0 && f.x.HasMuchFree(part) {
		at := f.parts[len(f.parts)-1]
		f.parts = f.parts[:len(f.parts)-1]
		for f.x.Retire(at, part); !f.x.DrainSome(); {
			f.x.Check()
		}
		f.spares = append(f.spares, at)
		memory := unsafe.Slice((*byte)(unsafe.Add(f.x.base, at)), part)
		for i := range memory {
			memory[i] = 0xff // nobody may read it
		}
	}
}

// TestGrowsAndShrinks inserts and removes up to some thousand entries, again and again, and takes memory back.
func TestGrowsAndShrinks(t *testing.T) {
	f := open(t, 40)
	r := rand.New(rand.NewPCG(1, 1))
	for _, most := range []int{10, 20_000, 300, 40_000, 0, 5000} {
		for len(f.places) < most {
			f.insert(r.Uint64())
		}
		for p := range f.places {
			if len(f.places) <= most {
				break
			}
			f.remove(p)
		}
		f.giveBack()
		f.check()
		if b := f.x.Bytes(); most >= 5000 && b > most*12+4*part || b > 700<<10 {
			t.Errorf("%d bytes for %d entries", b, most)
		}
	}
}

// TestExpect fills indexes that expect too few entries, the right number, and too many: the leaves are those of the larger number.
func TestExpect(t *testing.T) {
	for _, expected := range []int{1, 379, 381, 5000, 9000, 40_000} {
		f := open(t, 60)
		r := rand.New(rand.NewPCG(5, 5))
		f.x.Expect(expected)
		for range 9000 {
			hash := r.Uint64()
			f.x.Touch(hash)
			f.insert(hash)
		}
		if leaves := len(f.x.leaves); leaves != (max(expected, 9000)+leafMean-1)/leafMean {
			t.Errorf("%d leaves, %d entries were expected", leaves, expected)
		}
		if b := f.x.Bytes(); expected == 9000 && b > 9000*9+part {
			t.Errorf("%d bytes for 9000 entries", b)
		}
		f.check()
		f.x.Expect(0)
		for p := range f.places {
			f.remove(p)
		}
		f.giveBack()
		f.x.Expect(100) // with fewer leaves than it had
		f.insert(7)
		f.check()
	}
}

// TestInsertsWhileMemoryRetires inserts and removes between the steps of DrainSome.
func TestInsertsWhileMemoryRetires(t *testing.T) {
	f := open(t, 40)
	r := rand.New(rand.NewPCG(2, 2))
	for range 30_000 {
		f.insert(r.Uint64())
	}
	for p := range f.places {
		if len(f.places) == 10_000 {
			break
		}
		f.remove(p)
	}
	for range 5 {
		at := f.parts[0]
		f.parts = f.parts[1:]
		for f.x.Retire(at, part); !f.x.DrainSome(); {
			f.remove(f.insert(r.Uint64()))
			for p := range f.places {
				f.remove(p)
				f.insert(r.Uint64())
				break
			}
		}
		f.spares = append(f.spares, at)
	}
	f.check()
}

// TestEqualHashes has several entries with the same hash: a search offers all of them.
func TestEqualHashes(t *testing.T) {
	f := open(t, 4)
	const hash = 0x1234_5678_9abc_def0
	for range 60 {
		f.insert(hash)
	}
	f.check()
	for p := uint32(1); p <= 60; p += 2 {
		f.remove(p)
	}
	f.check()
}

// TestSet gives an entry another place.
func TestSet(t *testing.T) {
	f := open(t, 4)
	p := f.insert(7)
	s, _ := f.find(p)
	f.hashes = append(f.hashes, 7)
	s.Set(2)
	delete(f.places, p)
	f.places[2] = true
	f.check()
}

// TestWalkWhileItGrows inserts and removes between the steps of a walk: entries that are there all the time come once.
func TestWalkWhileItGrows(t *testing.T) {
	f := open(t, 40)
	r := rand.New(rand.NewPCG(3, 3))
	var stay []uint32
	for range 3000 {
		stay = append(stay, f.insert(r.Uint64()))
	}
	seen := map[uint32]int{}
	var others []uint32
	for pos, more := (Pos{}), true; more; {
		pos, more = f.x.Walk(pos, f.rehash, func(p uint32) { seen[p]++ })
		for range 100 {
			others = append(others, f.insert(r.Uint64()))
		}
		for len(others) > 6000 {
			f.remove(others[0])
			others = others[1:]
		}
	}
	for _, p := range stay {
		if seen[p] != 1 {
			t.Fatalf("entry %d comes %d times", p, seen[p])
		}
	}
}

// FuzzIndex does operations that bytes say: insert, remove, take memory back.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 200, 201, 255, 0, 0, 128})
	f.Fuzz(func(t *testing.T, ops []byte) {
		x := open(t, 8)
		r := rand.New(rand.NewPCG(4, 4))
		for _, op := range ops[:min(len(ops), 500)] {
			switch {
			case op < 140 && len(x.places) < 10_000:
				for range int(op)%40 + 1 {
					x.insert(r.Uint64() &^ (uint64(op%4) << 62)) // some tags are frequent
				}
			case op < 250:
				n := int(op) % 50
				for p := range x.places {
					if n--; n < 0 {
						break
					}
					x.remove(p)
				}
			default:
				x.giveBack()
			}
		}
		x.check()
	})
}
