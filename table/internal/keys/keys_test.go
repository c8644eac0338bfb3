package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

var errFull = errors.New("full")

// memory is the owner of a Heap, with a model of the keys that it stored. What it gives is full of ones.
type memory struct {
	t     testing.TB
	words []uint64
	next  uint64 // bytes given
	limit uint64 // bytes that there are to give
	gap   func() uint64
	heap  Heap
	keys  []stored
	sum   uint64
}

// stored is a key that was stored.
type stored struct {
	off  uint64
	text string
}

// open makes a memory of size bytes. gap returns a number of granules that the owner uses for itself before it gives
// more; nil for none.
func open(t testing.TB, size int, gap func() uint64) *memory {
	m := &memory{t: t, words: make([]uint64, size/8), next: 1008, limit: uint64(size), gap: gap}
	for i := range m.words {
		m.words[i] = ^uint64(0)
	}
	return m
}

func (m *memory) base() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m.words)) }

func (m *memory) Grow(size uint64) (uint64, error) {
	if size%extentUnit != 0 {
		m.t.Fatalf("Grow(%d)", size)
	}
	off := m.next
	if m.gap != nil {
		off += m.gap() * granule
	}
	if off+size > m.limit {
		return 0, errFull
	}
	m.next = off + size
	return off, nil
}

// at returns the bytes of a key.
func (m *memory) at(k stored) string {
	return unsafe.String(at[byte](m.base(), k.off), len(k.text))
}

// noise has the bytes of all keys.
var noise = sync.OnceValue(func() string {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1<<20)
	for i := 0; i < len(b); i += 8 {
		binary.NativeEndian.PutUint64(b[i:], random.Uint64())
	}
	return string(b)
})

// text returns a key of n bytes that differs from others.
func text(random *rand.Rand, n int) string {
	from := random.IntN(len(noise()) - n)
	return noise()[from : from+n]
}

// store stores a key. It returns false if memory is full, which must not have changed the heap.
func (m *memory) store(key string) bool {
	before := m.heap
	off, err := m.heap.Store(m.base(), m, key)
	if err != nil {
		before.refused = m.heap.refused
		if before != m.heap || !errors.Is(err, errFull) {
			m.t.Fatalf("Store failed with %v and changed %+v to %+v", err, before, m.heap)
		}
		return false
	}
	m.keys = append(m.keys, stored{off, key})
	m.sum += uint64(len(key))
	return true
}

// free frees the key i, which must have its bytes, and puts the last one in its place.
func (m *memory) free(i int) stored {
	k := m.keys[i]
	if m.at(k) != k.text {
		m.t.Fatalf("the key of %d bytes at %d was overwritten", len(k.text), k.off)
	}
	m.heap.Free(m.base(), k.off, len(k.text))
	m.sum -= uint64(len(k.text))
	last := len(m.keys) - 1
	m.keys[i] = m.keys[last]
	m.keys = m.keys[:last]
	return k
}

// all iterates over the keys.
func (m *memory) all() iter.Seq2[uint64, int] {
	return func(yield func(uint64, int) bool) {
		for _, k := range m.keys {
			if !yield(k.off, len(k.text)) {
				return
			}
		}
	}
}

// check checks the heap and all keys.
func (m *memory) check() {
	m.t.Helper()
	m.heap.Check(m.base(), m.all())
	for _, k := range m.keys {
		if m.at(k) != k.text {
			m.t.Fatalf("the key of %d bytes at %d was overwritten", len(k.text), k.off)
		}
	}
	if s := m.heap.Stats(); s.Live != m.sum || s.Taken > m.next {
		m.t.Fatalf("Stats are %+v; the keys have %d bytes, the owner gave %d", s, m.sum, m.next)
	}
}

// ratio returns the memory taken by the bytes of keys.
func (m *memory) ratio() float64 {
	s := m.heap.Stats()
	return float64(s.Taken) / float64(s.Live)
}

// uniform returns lengths from least to most.
func uniform(random *rand.Rand, least, most int) func() int {
	return func() int { return least + random.IntN(most-least+1) }
}

// mixed returns lengths of all kinds, most of them small.
func mixed(random *rand.Rand) func() int {
	return func() int {
		switch random.IntN(20) {
		case 0:
			return random.IntN(100_000)
		case 1, 2:
			return random.IntN(5000)
		case 3:
			return []int{0, 1, 8, 9, 256, 257, 1008, 1016, 1017, 4064, 4096}[random.IntN(11)]
		}
		return random.IntN(300)
	}
}

// TestModel stores and frees keys at random, and resets, with and without gaps, also where memory is full.
func TestModel(t *testing.T) {
	steps := 30_000
	if testing.Short() {
		steps = 6_000
	}
	for _, size := range []int{20 << 10, 200 << 10, 1 << 20} {
		for _, gaps := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,%v", size, gaps), func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, uint64(size)))
				var gap func() uint64
				if gaps {
					gap = func() uint64 { return random.Uint64N(40) }
				}
				m := open(t, size, gap)
				lengths := mixed(random)
				if size < 100<<10 {
					lengths = uniform(random, 0, 300)
				}
				full := 0
				for i := range steps {
					grow := i/1500%2 == 0
					if len(m.keys) == 0 || random.IntN(5) < 1 != grow {
						if !m.store(text(random, lengths())) {
							full++
						}
					} else {
						m.free(random.IntN(len(m.keys)))
					}
					if i%(1+size>>14) == 0 {
						m.check()
					}
					if i%7000 == 6999 {
						m.heap.Reset(m.base())
						m.keys, m.sum = nil, 0
						m.check()
					}
				}
				if full == 0 {
					t.Error("memory was never full")
				}
				for len(m.keys) > 0 {
					m.free(0)
				}
				m.check()
			})
		}
	}
}

// FuzzHeap stores and frees keys as bytes say: two for each step.
func FuzzHeap(f *testing.F) {
	f.Add([]byte("\x00\x10\x00\x80\x01\x00\x02\xff\x03\x01\x07\x00"))
	f.Add([]byte(strings.Repeat("\x00\xc8", 200) + strings.Repeat("\x01\x00", 100) + strings.Repeat("\x02\x20", 50)))
	f.Fuzz(func(t *testing.T, steps []byte) {
		random := rand.New(rand.NewPCG(1, 2))
		m := open(t, 256<<10, func() uint64 { return uint64(random.IntN(3)) })
		for i := 0; i+1 < len(steps) && i < 2000; i += 2 {
			arg := int(steps[i+1])
			switch steps[i] % 8 {
			case 0, 4:
				m.store(text(random, arg))
			case 2:
				m.store(text(random, arg*37))
			case 6:
				m.store(text(random, arg*1024))
			case 7:
				if arg == 0 {
					m.heap.Reset(m.base())
					m.keys, m.sum = nil, 0
				}
			default:
				if len(m.keys) > 0 {
					m.free(arg % len(m.keys))
				}
			}
			if i%16 == 0 {
				m.check()
			}
		}
		m.check()
	})
}

// TestReplaceWhenFull fills memory, and replaces keys by others that round to the same size: this never fails.
func TestReplaceWhenFull(t *testing.T) {
	for _, most := range []int{40, 200, 2000, 30_000} {
		random := rand.New(rand.NewPCG(1, uint64(most)))
		m := open(t, 1<<20, func() uint64 { return uint64(random.IntN(3)) })
		lengths := uniform(random, 1, most)
		for failed := 0; failed < 50; {
			if !m.store(text(random, lengths())) {
				failed++
			}
		}
		t.Logf("full with %d keys of up to %d bytes, memory is %.3f times the keys", len(m.keys), most, m.ratio())
		for i := range 10_000 {
			old := uint(len(m.free(random.IntN(len(m.keys))).text))
			n := Round(old)
			for n == Round(old) && n > 1 && random.IntN(4) > 0 {
				old, n = n, n-1
			}
			if !m.store(text(random, int(old))) {
				t.Fatalf("step %d: a key of %d bytes replaces one, and memory is full", i, old)
			}
			if i%2000 == 0 {
				m.check()
			}
		}
	}
}

// TestOwnerIsAsked counts how often an owner without memory is asked for more while keys are replaced, and that a Store
// which would fail asks.
func TestOwnerIsAsked(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 4))
	m := open(t, 1<<20, nil)
	lengths := uniform(random, 8, 200)
	for failed := 0; failed < 50; {
		if !m.store(text(random, lengths())) {
			failed++
		}
	}
	asked, stored := 0, 0
	m.gap = func() uint64 { asked++; return 0 }
	for range 20_000 {
		m.free(random.IntN(len(m.keys)))
		before := asked
		if m.store(text(random, lengths())) {
			stored++
		} else if asked == before {
			t.Fatal("Store failed without asking the owner")
		}
	}
	if asked > 5*(20_000-stored)+20_000/20 {
		t.Errorf("the owner was asked %d times, %d of 20,000 keys were stored", asked, stored)
	}
	m.limit += 1 << 20
	m.words = append(m.words, make([]uint64, 1<<17)...)
	was := m.heap.Stats().Taken
	for range 2000 {
		m.free(random.IntN(len(m.keys)))
		m.store(text(random, lengths()))
		m.store(text(random, lengths()))
	}
	if m.heap.Stats().Taken == was {
		t.Error("the owner has memory again, and was not asked")
	}
	m.check()
}

// TestTurnover replaces all keys ten times, in several orders; at random 100,000 of them. Memory stays near the bytes of the keys.
func TestTurnover(t *testing.T) {
	for _, order := range []string{"random", "oldest first", "newest first"} {
		n := 20_000
		if order == "random" && !testing.Short() {
			n = 100_000
		}
		random := rand.New(rand.NewPCG(3, 4))
		m := open(t, n*400, func() uint64 { return 13 })
		lengths := uniform(random, 8, 200)
		for range n {
			m.store(text(random, lengths()))
		}
		first, was := m.ratio(), m.heap.Stats().Taken
		for i := range 10 * n {
			at := random.IntN(n)
			switch order {
			case "oldest first":
				at = i % n
			case "newest first":
				at = n - 1 - i%n
			}
			// The new key takes the place of the old one in the model.
			m.keys[at], m.keys[n-1] = m.keys[n-1], m.keys[at]
			m.free(n - 1)
			if !m.store(text(random, lengths())) {
				t.Fatal("full")
			}
			m.keys[at], m.keys[n-1] = m.keys[n-1], m.keys[at]
		}
		m.check()
		now := m.heap.Stats().Taken
		t.Logf("%s: memory is %.3f times the keys, at first, %.3f after ten turnovers", order, first, m.ratio())
		if first > 1.15 || m.ratio() > 1.15 || now > was+was/10 {
			t.Errorf("%s: memory is %.3f times the keys at first, then %.3f", order, first, m.ratio())
		}
	}
}

// TestShift replaces keys of 16 bytes by keys of 200, one by one, and back. The memory of slabs that became empty is
// used again.
func TestShift(t *testing.T) {
	const n = 5_000
	random := rand.New(rand.NewPCG(5, 6))
	m := open(t, 16<<20, func() uint64 { return 13 })
	for range n {
		m.store(text(random, 16))
	}
	var most [4]uint64
	for round := range most {
		for _, size := range []int{200, 1500, 30, 16} {
			for i := range n {
				// The oldest key goes.
				m.free(i)
				m.store(text(random, size))
				m.keys[i], m.keys[n-1] = m.keys[n-1], m.keys[i]
			}
			m.check()
			most[round] = max(most[round], m.heap.Stats().Taken)
		}
	}
	t.Logf("at most %v bytes", most)
	if most[0] > n*1500*11/10+n*200 || most[3] > most[0]+most[0]/20 {
		t.Errorf("memory grew: at most %v bytes in each round", most)
	}
}

// TestSmall bounds the memory of few keys, at first and after many were replaced.
func TestSmall(t *testing.T) {
	for _, c := range []struct {
		n, least, most int
		first, later   float64
	}{
		{1, 8, 8, 32, 32},
		{3, 8, 200, 4, 6},
		{10, 8, 200, 2, 3},
		{100, 8, 200, 1.6, 2},
		{100, 8, 16, 4, 5},
		{1000, 8, 16, 2.5, 2.5},
		{1000, 8, 200, 1.5, 1.6},
		{10_000, 8, 200, 1.2, 1.25},
		{10_000, 8, 16, 1.8, 1.8},
		{1000, 1000, 5000, 1.4, 1.5},
		{100, 20_000, 100_000, 1.4, 1.5},
	} {
		random := rand.New(rand.NewPCG(7, uint64(c.n)))
		m := open(t, c.n*c.most*2+1<<20, func() uint64 { return 13 })
		lengths := uniform(random, c.least, c.most)
		for range c.n {
			m.store(text(random, lengths()))
		}
		first := m.ratio()
		for range min(100*c.n, 20_000) {
			m.free(random.IntN(c.n))
			m.store(text(random, lengths()))
		}
		m.check()
		later := float64(m.heap.Stats().Taken) / float64(c.n*(c.least+c.most)/2)
		t.Logf("%6d keys of %d to %d bytes: %.2f times the keys, later %.2f", c.n, c.least, c.most, first, later)
		if first > c.first || later > c.later {
			t.Errorf("%d keys of %d to %d bytes take %.2f times their bytes, later %.2f", c.n, c.least, c.most, first, later)
		}
	}
}

// TestReset stores the same keys again and again, after a Reset: memory does not grow.
func TestReset(t *testing.T) {
	m := open(t, 16<<20, func() uint64 { return 13 })
	var was uint64
	for round := range 5 {
		random := rand.New(rand.NewPCG(8, 9))
		for lengths := range 20_000 {
			m.store(text(random, 8+lengths%250))
		}
		m.check()
		if now := m.heap.Stats().Taken; round == 0 {
			was = now
		} else if now > was+was/20 {
			t.Errorf("round %d: %d bytes, %d at first", round, now, was)
		}
		m.heap.Reset(m.base())
		m.keys, m.sum = nil, 0
		m.check()
	}
}

// TestClasses looks at every length that has a class.
func TestClasses(t *testing.T) {
	if unsafe.Sizeof(slab{}) != slabHead || largestSlot > 128*8 {
		t.Fatal("constants contradict each other")
	}
	if !slices.IsSorted(slotSizes[:]) || slotSizes[classes-1] != largestSlot {
		t.Fatalf("sizes %v", slotSizes)
	}
	for n := uint(1); n <= largestSlot; n++ {
		size := uint(slotSizes[classOf(n)])
		if size < n || n > 1 && Round(n) < Round(n-1) || Round(size) != size {
			t.Fatalf("a key of %d bytes has a slot of %d", n, size)
		}
		if size-n >= 8 && size-n > size/4 {
			t.Errorf("a key of %d bytes has a slot of %d", n, size)
		}
	}
	if Round(0) != 0 || Round(largestSlot+1) < largestSlot+1 {
		t.Error("Round")
	}
}

// TestMoved copies all memory elsewhere, as a file that is mapped at another address.
func TestMoved(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	m := open(t, 1<<20, nil)
	lengths := uniform(random, 0, 1500)
	for range 500 {
		m.store(text(random, lengths()))
	}
	m.words = append(make([]uint64, 0, len(m.words)+1), m.words...)
	m.check()
	for range 2000 {
		m.free(random.IntN(len(m.keys)))
		m.store(text(random, lengths()))
	}
	m.check()
}

// TestInvariantsNotice breaks the memory in every word that describes it, and has Check find it.
func TestInvariantsNotice(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	m := open(t, 64<<10, nil)
	for range 400 {
		m.store(text(random, 17+random.IntN(8)))
	}
	for range 60 {
		m.free(random.IntN(len(m.keys)))
	}
	if m.heap.slabs == 0 {
		t.Fatal("no slabs")
	}
	d := at[directory](m.base(), m.heap.slabs)
	c := slices.IndexFunc(d.partial[:], func(off uint64) bool { return off != 0 })
	s := at[slab](m.base(), d.partial[c])
	b := slices.IndexFunc(m.heap.bins[:], func(off uint64) bool { return off != 0 })
	o := at[hole](m.base(), m.heap.bins[b])
	for name, change := range map[string]func() (undo func()){
		"used":      func() func() { s.used++; return func() { s.used-- } },
		"free":      func() func() { was := s.free; s.free = s.fresh; return func() { s.free = was } },
		"class":     func() func() { s.class++; return func() { s.class-- } },
		"partial":   func() func() { was := d.partial[c]; d.partial[c] = 0; return func() { d.partial[c] = was } },
		"hole size": func() func() { o.head += 1 << sizeBits; return func() { o.head -= 1 << sizeBits } },
		"hole flag": func() func() { o.head ^= used; return func() { o.head ^= used } },
		"hole prev": func() func() { o.prev += granule; return func() { o.prev -= granule } },
		"filled":    func() func() { m.heap.filled ^= 1; return func() { m.heap.filled ^= 1 } },
		"live":      func() func() { m.heap.live++; return func() { m.heap.live-- } },
		"taken":     func() func() { m.heap.taken++; return func() { m.heap.taken-- } },
		"key twice": func() func() { was := m.keys[0]; m.keys[0] = m.keys[1]; return func() { m.keys[0] = was } },
		"key lost":  func() func() { was := m.keys; m.keys = m.keys[1:]; return func() { m.keys = was } },
	} {
		undo := change()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Check does not notice", name)
				}
			}()
			m.heap.Check(m.base(), m.all())
		}()
		undo()
		m.check()
	}
}

// BenchmarkReplace frees a key and stores another one, among 1,000 and 100,000 keys.
func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		for _, most := range []int{24, 200, 3000} {
			b.Run(fmt.Sprintf("keys=%d/bytes=8-%d", n, most), func(b *testing.B) {
				random := rand.New(rand.NewPCG(3, 4))
				m := open(b, n*most*2+1<<20, func() uint64 { return 13 })
				lengths := uniform(random, 8, most)
				source := text(random, most)
				type key struct {
					off  uint64
					size int
				}
				keys := make([]key, n)
				for i := range keys {
					keys[i].size = lengths()
					keys[i].off, _ = m.heap.Store(m.base(), m, source[:keys[i].size])
				}
				sizes := make([]int, 1<<12)
				places := make([]uint32, 1<<12)
				for i := range sizes {
					sizes[i] = lengths()
					places[i] = uint32(random.IntN(n))
				}
				base, i := m.base(), 0
				for b.Loop() {
					k := &keys[(int(places[i%len(places)])+i)%n]
					m.heap.Free(base, k.off, k.size)
					k.size = sizes[i%len(sizes)]
					k.off, _ = m.heap.Store(base, m, source[:k.size])
					i++
				}
				runtime.KeepAlive(m)
			})
		}
	}
}

// BenchmarkPair frees a key and stores one of the same length.
func BenchmarkPair(b *testing.B) {
	for _, size := range []int{16, 100, 2000} {
		for _, n := range []int{1, 100_000} {
			b.Run(fmt.Sprintf("keys=%d/bytes=%d", n, size), func(b *testing.B) {
				m := open(b, n*size*2+1<<20, nil)
				source := strings.Repeat("k", size)
				var off uint64
				for range n {
					off, _ = m.heap.Store(m.base(), m, source)
				}
				base := m.base()
				for b.Loop() {
					m.heap.Free(base, off, size)
					off, _ = m.heap.Store(base, m, source)
				}
			})
		}
	}
}
