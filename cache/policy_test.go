package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/slab"
)

// ghostMemory returns a function that gives ghosts chunks until they suffice for some entries.
func ghostMemory(t *testing.T) (grow func(g *ghosts, entries int)) {
	heap, err := slab.Open(slab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heap.Close() })
	return func(g *ghosts, entries int) {
		for g.lacks(entries) {
			p := unsafe.Pointer(unsafe.SliceData(heap.AllocDirty(chunkSize, granule)))
			g.addChunk(heap.Base(), uint32((uintptr(p)-uintptr(heap.Base()))/granule))
		}
	}
}

// TestGhosts adds frequencies, and looks for them: in a table that has room for all of them few may be lost, none may be found
// for keys that were not added, except by chance, and each epoch halves them.
func TestGhosts(t *testing.T) {
	const n = 20_000
	var g ghosts
	if g.add(1, 0, 3); g.frequency(1, 0) != 0 {
		t.Error("a table without memory remembers")
	}
	grow := ghostMemory(t)
	grow(&g, n)
	r := rand.New(rand.NewPCG(1, 1))
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = r.Uint64()
		g.add(hashes[i], 0, 1+i%mostFrequent)
	}
	grow(&g, 2*n) // keeps what there is
	found := func(epoch uint16, shift int) (right, wrong int) {
		for i, hash := range hashes {
			switch g.frequency(hash, epoch) {
			case (1 + i%mostFrequent) >> shift:
				right++
			default:
				wrong++
			}
		}
		return right, wrong
	}
	for _, epoch := range []uint16{0, 1, 2} {
		if right, _ := found(epoch, int(epoch)); right < n*95/100 {
			t.Errorf("epoch %d: %d of %d ghosts have their frequency", epoch, right, n)
		}
	}
	chance := 0
	for range n {
		if g.frequency(r.Uint64(), 2) != 0 {
			chance++
		}
	}
	if chance > n/100 {
		t.Errorf("%d of %d keys that were not added have a ghost", chance, n)
	}
	for i, hash := range hashes {
		if f := g.frequency(hash, 1000); f != 0 {
			t.Fatalf("ghost %d has frequency %d after 998 epochs", i, f)
		}
	}
}

// TestGhostsKeepFrequent adds many keys that were used once after some that were used often.
func TestGhostsKeepFrequent(t *testing.T) {
	const n = 2000
	var g ghosts
	ghostMemory(t)(&g, n)
	r := rand.New(rand.NewPCG(2, 2))
	often := make([]uint64, n/4)
	for i := range often {
		often[i] = r.Uint64()
		g.add(often[i], 0, 5)
	}
	for range 20 * n {
		g.add(r.Uint64(), 0, 1)
	}
	kept := 0
	for _, hash := range often {
		if g.frequency(hash, 0) == 5 {
			kept++
		}
	}
	if kept < len(often)*9/10 {
		t.Errorf("%d of %d frequent ghosts are kept", kept, len(often))
	}
}

// TestScansEvictNothingFrequent reads a hot set, in between keys that are used once, ten times as many as the cache holds. The hot set
// must stay.
func TestScansEvictNothingFrequent(t *testing.T) {
	c, err := Open(Config{Limit: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const hot, steps = 10_000, 1_000_000 // the cache holds some 50,000
	r := rand.New(rand.NewPCG(3, 3))
	var key [16]byte
	value := make([]byte, 100)
	hits, gets, cold := 0, 0, uint64(hot)
	for i := range steps {
		k := cold
		if i%2 == 0 {
			k = r.Uint64N(hot)
		} else {
			cold++
		}
		binary.LittleEndian.PutUint64(key[:], k)
		_, ok := c.Get(nil, key[:])
		if !ok {
			if err := c.Set(key[:], value); err != nil {
				t.Fatal(err)
			}
		}
		if k < hot && i > steps/2 {
			gets++
			if ok {
				hits++
			}
		}
	}
	if hits < gets*98/100 {
		t.Errorf("%d of %d gets of hot keys hit", hits, gets)
	}
	c.check()
}

// TestPolicyCounts mixes all that changes main's histogram, and checks it.
func TestPolicyCounts(t *testing.T) {
	c, err := Open(Config{Limit: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(4, 4))
	var key [16]byte
	for i := range 300_000 {
		k := r.Uint64N(60_000) * r.Uint64N(60_000) >> 16
		binary.LittleEndian.PutUint64(key[:], k)
		switch r.IntN(10) {
		case 0, 1, 2:
			if err := c.Set(key[:], make([]byte, r.IntN(300))); err != nil {
				t.Fatal(err)
			}
		case 3:
			c.Delete(key[:])
		default:
			c.Get(nil, key[:])
		}
		if i%50_000 == 0 {
			c.check()
		}
	}
	c.check()
	if c.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
}

// TestSetEvictsAhead sets new keys at the Limit. A Set evicts a few entries, however full the cache is: only one in ten thousand finds no free
// segment, and empties one.
func TestSetEvictsAhead(t *testing.T) {
	skipUnderRace(t)
	c, err := Open(Config{Limit: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const fill, sets = 100_000, 400_000
	var key [16]byte
	value := make([]byte, 100)
	many := 0
	for i := range fill + sets {
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		s, _ := c.shardOf("Set", key[:])
		before := s.counts.evictions
		if err := c.Set(key[:], value); err != nil {
			t.Fatal(err)
		}
		if i >= fill && s.counts.evictions-before > evictAtOnce {
			many++
		}
	}
	if st := c.Stats(); st.Evictions < sets*9/10 || many > sets/10_000 {
		t.Errorf("%d evictions; %d Sets of %d evicted more than %d entries", st.Evictions, many, sets, evictAtOnce)
	} else {
		t.Logf("%d Sets of %d evicted more than %d entries", many, sets, evictAtOnce)
	}
}
