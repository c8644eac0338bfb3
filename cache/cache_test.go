package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab"
)

func TestConfig(t *testing.T) {
	for _, limit := range []int{-1, 1, MinLimit - 1} {
		if _, err := Open(Config{Limit: limit}); err == nil {
			t.Errorf("a Limit of %d", limit)
		}
	}
}

// TestZeroAndNil calls everything on a nil and a zero Cache: each call is a violation.
func TestZeroAndNil(t *testing.T) {
	for _, c := range []*Cache{nil, {}} {
		var cursor Cursor
		for op, call := range map[string]func(){
			"Get": func() { c.Get(nil, nil) }, "Set": func() { _ = c.Set(nil, nil) }, "SetTTL": func() { _ = c.SetTTL(nil, nil, -1) },
			"Delete": func() { c.Delete(nil) }, "View": func() { c.View(nil, nil) }, "Update": func() { _ = c.Update(nil, nil) },
			"Add": func() { _, _ = c.Add(nil, 1) }, "Touch": func() { c.Touch(nil, 1) }, "TTL": func() { c.TTL(nil) },
			"Len": func() { c.Len() }, "Reset": func() { c.Reset() }, "All": func() { c.All() }, "Scan": func() { c.Scan(&cursor, 1) },
			"Stats": func() { c.Stats() }, "Purge": func() { _ = c.Purge() }, "Close": func() { _ = c.Close() },
			"WriteTo": func() { _, _ = c.WriteTo(nil) }, "ReadFrom": func() { _, _ = c.ReadFrom(nil) },
		} {
			func() {
				defer func() {
					if v, ok := recover().(*guard.Violation); !ok || v.Kind != guard.ZeroValue || v.Op != "cache."+op {
						t.Errorf("%s: %v", op, v)
					}
				}()
				call()
			}()
		}
	}
}

// TestAfterClose calls everything on a closed cache: it misses, or returns ErrClosed.
func TestAfterClose(t *testing.T) {
	c, _ := open(t, Config{})
	if err := errors.Join(c.Set([]byte("k"), []byte("v")), c.Close()); err != nil {
		t.Fatal(err)
	}
	k := []byte("k")
	_, ok := c.Get(nil, k)
	if _, there := c.TTL(k); ok || there || c.Delete(k) || c.Touch(k, 1) || c.View(k, nil) || c.Len() != 0 {
		t.Error("an entry of a closed cache is there")
	}
	for range c.All() {
		t.Error("an entry of a closed cache comes")
	}
	var b bytes.Buffer
	_, add := c.Add(k, 1)
	_, write := c.WriteTo(&b)
	_, read := c.ReadFrom(&b)
	update := c.Update(k, func([]byte, bool) ([]byte, bool) { return nil, true })
	for i, err := range []error{c.Set(k, k), c.Set(k, make([]byte, 1<<20)), c.SetTTL(k, k, 1), c.SetTTL(k, k, 0), add, write, read, update, c.Purge(), c.Close()} {
		if !errors.Is(err, guard.ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	c.Reset()
	if st := c.Stats(); st.Committed != 0 || st.Live != 0 || st.Sets != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSizes sets the longest keys and values, and some that are too long.
func TestSizes(t *testing.T) {
	c, _ := open(t, Config{})
	for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 100, 4095, 16_300, 16_384, 40_000, 65_535, MaxKey} {
		for _, m := range []int{0, 1, 16, 5000, 16_360, 16_390, 70_000, 2 << 20} {
			key, value := bytes.Repeat([]byte{1}, n), bytes.Repeat([]byte{2}, m)
			if err := c.Set(key, value); err != nil {
				t.Fatal(n, m, err)
			}
			if got, ok := c.Get(nil, key); !ok || !bytes.Equal(got, value) {
				t.Fatalf("a key of %d bytes: a value of %d, want %d", n, len(got), m)
			}
		}
	}
	if err := c.Set(make([]byte, MaxKey+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	limited, _ := open(t, Config{Limit: 4 << 20})
	if err := limited.Set(nil, make([]byte, 5<<20)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if testing.Short() {
		return
	}
	huge := make([]byte, MaxValue+1)
	if err := c.Set(nil, huge); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if err := c.Set(nil, huge[:MaxValue]); err != nil || !c.View(nil, func(v []byte) {
		if len(v) != MaxValue {
			t.Error(len(v))
		}
	}) {
		t.Error(err)
	}
}

// TestTTL moves the clock.
func TestTTL(t *testing.T) {
	c, clock := open(t, Config{})
	k := []byte("k")
	set := func(ttl time.Duration) {
		t.Helper()
		if err := c.SetTTL(k, k, ttl); err != nil {
			t.Fatal(err)
		}
	}
	there := func(want bool) {
		t.Helper()
		if _, ok := c.Get(nil, k); ok != want {
			t.Errorf("at %d: %v", *clock, ok)
		}
	}
	set(10)
	*clock = 9
	there(true)
	*clock = 10
	there(false)
	set(math.MaxInt64)
	*clock = math.MaxInt64 - 1
	there(true)
	*clock = 20
	set(0)
	there(false)
	set(5)
	if !c.Touch(k, 10) {
		t.Error("Touch")
	}
	*clock = 29
	there(true)
	if c.Touch(k, -1); true {
		there(false)
	}
	// Expired entries leave as others are set, without being asked for.
	for i := range 20_000 {
		if err := c.SetTTL(binary.LittleEndian.AppendUint32(nil, uint32(i)), k, 1); err != nil {
			t.Fatal(err)
		}
	}
	*clock += 10
	for i := range 20_000 {
		if err := c.Set(binary.LittleEndian.AppendUint32([]byte("new"), uint32(i)), k); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Len(); n > 20_000+2000 {
		t.Errorf("%d entries", n)
	}
}

// TestViewKeeps deletes, replaces, resets and closes while a value is viewed, and panics.
func TestViewKeeps(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		for _, what := range []string{"Delete", "Set", "Reset", "Close", "View", "panic", "Purge"} {
			c, _ := open(t, Config{})
			k, value := []byte("k"), bytes.Repeat([]byte("v"), size)
			if err := c.Set(k, value); err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if p := recover(); p != nil && p != "mine" {
						panic(p)
					}
				}()
				c.View(k, func(v []byte) {
					switch what {
					case "Delete":
						c.Delete(k)
					case "Set":
						_ = c.Set(k, make([]byte, size))
					case "Reset":
						c.Reset()
					case "Close":
						if err := c.Close(); err != nil {
							t.Error(err)
						}
					case "View":
						c.View(k, func([]byte) { c.Delete(k) })
					case "Purge":
						c.Delete(k)
						_ = c.Purge()
					}
					for i := range 2000 {
						_ = c.Set(fmt.Append(nil, i), make([]byte, 100))
					}
					if !bytes.Equal(v, value) {
						t.Errorf("%s changes a value that is viewed", what)
					}
					if what == "panic" {
						panic("mine")
					}
				})
			}()
			if what == "Close" {
				if n := c.users.Load(); n != 0 {
					t.Errorf("%d users are left", n)
				}
				continue
			}
			for i := range c.shards {
				if n := c.shards[i].pins; n != 0 {
					t.Errorf("%s: %d pins are left", what, n)
				}
			}
			c.check()
		}
	}
}

// TestUpdateAgain changes the key while f runs: f is called again.
func TestUpdateAgain(t *testing.T) {
	c, _ := open(t, Config{})
	k := []byte("k")
	for _, before := range []bool{false, true} {
		if c.Delete(k); before {
			_ = c.Set(k, []byte("0"))
		}
		calls := 0
		err := c.Update(k, func(old []byte, ok bool) ([]byte, bool) {
			if calls++; calls < 3 {
				_ = c.Set(k, []byte(strings.Repeat("x", calls)))
			}
			return append([]byte("of "), old...), true
		})
		if got, _ := c.Get(nil, k); err != nil || calls != 3 || string(got) != "of xx" {
			t.Errorf("%d calls, %q, %v", calls, got, err)
		}
	}
}

// TestKeyChangesWhileMemoryComes changes a key between the two tries of a call that lacked memory at first: the second one sees that.
func TestKeyChangesWhileMemoryComes(t *testing.T) {
	key, number := []byte("key"), make([]byte, 8)
	for _, test := range []struct {
		name          string
		before, amid  func(c *Cache)
		change        change
		done, has     bool
		seesWhatItHad bool
	}{
		{
			name: "Update of a key that is set", change: change{kind: updating, keep: true}, seesWhatItHad: true,
			before: func(c *Cache) { _ = c.Set(key, number) }, amid: func(c *Cache) { _ = c.Set(key, make([]byte, 7)) }, has: true,
		},
		{
			name: "Update of a key that is deleted", change: change{kind: updating, keep: true}, seesWhatItHad: true,
			before: func(c *Cache) { _ = c.Set(key, number) }, amid: func(c *Cache) { c.Delete(key) },
		},
		{
			name: "Update of a key that comes", change: change{kind: updating, keep: true}, seesWhatItHad: true,
			before: func(*Cache) {}, amid: func(c *Cache) { _ = c.Set(key, number) }, has: true,
		},
		{
			name: "Add to what becomes no number", change: change{kind: adding},
			before: func(*Cache) {}, amid: func(c *Cache) { _ = c.Set(key, make([]byte, 7)) }, has: true,
		},
		{
			name: "Add to a key with a TTL that is deleted", change: change{kind: adding},
			before: func(c *Cache) { _ = c.SetTTL(key, number, time.Hour) }, amid: func(c *Cache) { c.Delete(key) }, done: true, has: true,
		},
		{
			name: "Touch of a key that is deleted", change: change{kind: touching, item: item{deadline: math.MaxInt64}},
			before: func(c *Cache) { _ = c.Set(key, number) }, amid: func(c *Cache) { c.Delete(key) },
		},
	} {
		c, _ := open(t, Config{Limit: MinLimit})
		s := &c.shards[0]
		test.before(c)
		ch := test.change
		ch.hash, ch.key, ch.value = c.hash(key), key, make([]byte, 3000)
		if ch.kind == adding {
			ch.value = make([]byte, 8)
		}
		filler := uint64(0)
		for s.hasRoom(small, 1) || s.hasRoom(main, 1) { // entries of one granule fill the last segment
			filler++
			if err := c.Set(binary.LittleEndian.AppendUint64(nil, filler), nil); err != nil {
				t.Fatal(err)
			}
		}
		var held pin
		l, had := s.find(ch.hash, key)
		if had {
			held = s.pin(l.place, l.entry) // so it is not replaced in its place
			if test.seesWhatItHad {
				ch.seen = l.place
			}
		}
		what := s.apply(&ch)
		if what == nothing {
			t.Errorf("%s: the first try lacks nothing", test.name)
		}
		if err := c.provideFor(s, what, "set"); err != nil {
			t.Fatal(err)
		}
		test.amid(c)
		if what := s.apply(&ch); what != nothing || ch.done != test.done {
			t.Errorf("%s: lacks %v, done %v", test.name, what, ch.done)
		}
		ttl, has := c.TTL(key)
		if v, _ := c.Get(nil, key); has != test.has || has && ttl != Forever || len(v) > 8 {
			t.Errorf("%s: there %v, TTL %v, %d bytes", test.name, has, ttl, len(v))
		}
		if had {
			s.release(held)
		}
	}
}

// TestOnEvict sets from OnEvict, and panics in it.
func TestOnEvict(t *testing.T) {
	var c *Cache
	calls := 0
	c, _ = open(t, Config{Limit: MinLimit, OnEvict: func(key, value []byte) {
		if calls++; calls == 500 {
			panic("mine")
		}
		if len(value) != 1000 {
			t.Error(len(value))
		}
		if bytes.HasPrefix(key, []byte("again")) {
			return
		}
		if err := c.Set(append([]byte("again"), key...), value); err != nil {
			t.Error(err)
		}
	}})
	panics := 0
	for i := range 5000 {
		func() {
			defer func() {
				if recover() != nil {
					panics++
				}
			}()
			if err := c.Set(fmt.Append(nil, i), make([]byte, 1000)); err != nil {
				t.Error(err)
			}
		}()
	}
	if calls < 4000 || panics != 1 {
		t.Errorf("%d calls, %d panics", calls, panics)
	}
	for i := range c.shards {
		if n := c.shards[i].pins; n > mostEvicted {
			t.Errorf("%d pins are left", n)
		}
	}
}

// skipUnderRace skips a long test of one goroutine in short builds for the race detector, which would find nothing.
func skipUnderRace(t *testing.T) {
	if race.Enabled && testing.Short() {
		t.Skip("one goroutine")
	}
}

// TestShiftingSizes fills a cache with values of one size, and goes on with others, at the Limit: it holds, no Set fails, and the
// memory is used.
func TestShiftingSizes(t *testing.T) {
	skipUnderRace(t)
	sets, limit, least := 10_000_000, 16<<20, 0.5
	if testing.Short() {
		sets, limit, least = 100_000, 8<<20, 0.35 // two shards: what one of them keeps is half of all
	}
	c, _ := open(t, Config{Limit: limit})
	sizes := []int{128, 640, 128, 8, 3000, 20, 20_000, 100, 5000, 128, 100_000, 640, 1500}
	r := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 200_000)
	for phase, size := range sizes {
		n := sets / len(sizes)
		if size > 1000 {
			n /= size / 100
		}
		n = max(n, 4*limit/(size+40))
		for i := range n {
			key := binary.LittleEndian.AppendUint64(nil, r.Uint64N(uint64(n)))
			if err := c.Set(key, value[:size/2+r.IntN(size+1)]); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if i%(n/20+1) == 0 {
				if got := c.heap.Stats().Committed; got > int64(limit) {
					t.Fatalf("%d bytes are committed", got)
				}
			}
		}
		st := c.Stats()
		if share := float64(st.Live) / float64(limit); share < least {
			t.Errorf("phase %d, %d bytes: %.2f of the Limit are live: %+v", phase, size, share, st)
		}
		t.Logf("phase %d, %d bytes: %.2f of the Limit are live", phase, size, float64(st.Live)/float64(limit))
		c.check()
	}
}

// TestHugePages opens caches with and without: the memory of a large one is committed 2 MiB at a time.
func TestHugePages(t *testing.T) {
	for limit, want := range map[int]bool{0: true, leastForHuge: true, leastForHuge - 1: false, MinLimit: false} {
		c, _ := open(t, Config{Limit: limit})
		if err := c.Set([]byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
		if huge := c.heap.Stats().Committed >= 2<<20; huge != want {
			t.Errorf("with a Limit of %d bytes %d are committed", limit, c.heap.Stats().Committed)
		}
	}
}

// TestReset takes no time for entries, and Purge gives their memory back.
func TestReset(t *testing.T) {
	c, _ := open(t, Config{})
	for i := range 100_000 {
		if err := c.Set(fmt.Append(nil, i), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	full := c.Stats().Committed
	if c.Reset(); c.Len() != 0 {
		t.Error(c.Len())
	}
	before := c.Stats().Committed
	if err := c.Purge(); err != nil {
		t.Fatal(err)
	}
	if st := c.Stats(); st.Committed > full/4 || before < full/2 || st.Live != 0 || st.Dead != 0 {
		t.Errorf("%d bytes of %d after Reset, %+v after Purge", before, full, st)
	}
	c.check()
}

// TestBudget lets a budget refuse: a cache without a Limit returns the error, and goes on.
func TestBudget(t *testing.T) {
	c, _ := open(t, Config{})
	defer guard.SetBudget(guard.Budget{})
	if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + 20<<20}); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 0
	for ; err == nil && n < 1_000_000; n++ {
		err = c.Set(fmt.Append(nil, n), make([]byte, 1000))
	}
	if !errors.Is(err, guard.ErrNoMemory) || c.Len() != n-1 {
		t.Fatalf("%d entries, %v", n, err)
	}
	c.check()
	for i := range n / 2 {
		c.Delete(fmt.Append(nil, i))
	}
	if err := c.Set([]byte("more"), make([]byte, 1000)); err != nil {
		t.Error(err)
	}
}

// TestOnSoft uses the cache from the budget's callback: no lock is held.
func TestOnSoft(t *testing.T) {
	c, _ := open(t, Config{})
	defer guard.SetBudget(guard.Budget{})
	calls := 0
	_, err := guard.SetBudget(guard.Budget{Soft: guard.Committed() + 8<<20, OnSoft: func(int64) {
		calls++
		for i := range 1000 {
			c.Delete(fmt.Append(nil, i))
			_, _ = c.Get(nil, fmt.Append(nil, i))
		}
		_ = c.Purge()
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40_000 {
		if err := c.Set(fmt.Append(nil, i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if calls == 0 {
		t.Error("OnSoft was not called")
	}
}

// TestSampled has the heap sample all allocations: those lie elsewhere, so the cache takes others.
func TestSampled(t *testing.T) {
	old, err := slab.SetSampling(slab.Sampling{Every: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer slab.SetSampling(slab.Sampling{Every: old.Every})
	c, _ := open(t, Config{})
	for i := range 300 {
		key := fmt.Append(nil, i)
		if err := c.Set(key, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Get(nil, key); !ok {
			t.Fatal(i)
		}
	}
}

// TestNoPointers holds many entries: the Go heap has hardly any memory for them.
func TestNoPointers(t *testing.T) {
	alloctest.SetQuarantine(t, 0)
	c, _ := open(t, Config{Limit: 256 << 20})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 200_000
	for i := range n {
		if err := c.Set(binary.LittleEndian.AppendUint64(nil, uint64(i)), make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10*n {
		t.Errorf("%d bytes on the Go heap for %d entries", grown, n)
	}
	runtime.KeepAlive(c)
}

// TestNoGarbage says that no call leaves garbage on the Go heap: of a key that is there or not, in the log and apart.
func TestNoGarbage(t *testing.T) {
	if invariant.Enabled {
		t.Skip("the checks leave some")
	}
	c, _ := open(t, Config{})
	counter, absent, short, long := []byte("counter"), []byte("absent"), make([]byte, 100), make([]byte, 1<<20)
	dst := make([]byte, 0, len(long))
	seen := 0
	view := func(value []byte) { seen += len(value) }
	change := func(old []byte, _ bool) ([]byte, bool) { return append(append(dst[:0], old...), 'x'), len(old) < 200 }
	for _, value := range [][]byte{short, long} {
		for _, key := range [][]byte{[]byte("key"), make([]byte, 60<<10)} {
			for _, call := range []struct {
				name string
				f    func()
			}{
				{"Set", func() { _ = c.Set(key, value) }},
				{"SetTTL", func() { _ = c.SetTTL(key, value, time.Hour) }},
				{"Touch, with a TTL", func() { c.Touch(key, time.Minute) }},
				{"Touch, without", func() { _ = c.Set(key, value); c.Touch(key, time.Minute) }},
				{"Touch, absent", func() { c.Touch(absent, time.Minute) }},
				{"TTL", func() { c.TTL(key); c.TTL(absent) }},
				{"Get", func() { dst, _ = c.Get(dst[:0], key); _, _ = c.Get(nil, absent) }},
				{"View", func() { c.View(key, view); c.View(absent, view) }},
				{"Update", func() { _ = c.Update(key, change); _ = c.Update(absent, change) }},
				{"Update, of a captured variable", func() {
					n := 0
					_ = c.Update(absent, func([]byte, bool) ([]byte, bool) { n++; return nil, false })
					seen += n
				}},
				{"Add", func() { _, _ = c.Add(counter, 1) }},
				{"Add, absent", func() { _, _ = c.Add(absent, 1); c.Delete(absent) }},
				{"Add, with a TTL", func() { c.Touch(counter, time.Hour); _, _ = c.Add(counter, 1) }},
				{"Delete", func() { _ = c.Set(key, value); c.Delete(key); c.Delete(absent) }},
			} {
				if n := testing.AllocsPerRun(100, call.f); n > 0 {
					t.Errorf("%s: %v allocations, with a key of %d bytes and a value of %d", call.name, n, len(key), len(value))
				}
			}
		}
	}
}

// TestReadAheadStays counts the bytes that readAhead reads at the end of a segment: none lies behind it.
func TestReadAheadStays(t *testing.T) {
	c, _ := open(t, Config{Limit: MinLimit})
	s := &c.shards[0]
	if err := c.Set(nil, nil); err != nil {
		t.Fatal(err)
	}
	n := s.queues[small].head - 1
	size := uint32(1) << c.segments.shift
	for left, want := range map[uint32]uint64{1: 0, 4: 0, 5: 2, 8: 2, 9: 3, 16: 4, 32: 4} {
		p := n<<c.segments.shift | (size - left)
		e := c.at(p)
		b := unsafe.Slice((*byte)(e.p), left*granule)
		for i := range b {
			b[i] = 1
		}
		s.ahead = 0
		if s.readAhead(p, e, mostReadAhead); s.ahead != want {
			t.Errorf("%d granules before the end: %d bytes read, not %d", left, s.ahead, want)
		}
		clear(b)
	}
}

// TestLayoutOfShard says that a Get of a frequent entry touches two CPU cache lines of its shard: see shard.
func TestLayoutOfShard(t *testing.T) {
	var s shard
	if unsafe.Sizeof(uintptr(0)) == 4 {
		t.Skip("the layout is for addresses of 64 bits")
	}
	if end := unsafe.Offsetof(s.policy) + unsafe.Offsetof(s.policy.inMain); end != 64 || unsafe.Offsetof(s.index) != 192 || unsafe.Sizeof(s)%128 != 0 {
		t.Errorf("what Get writes ends at %d, what it reads begins at %d, a shard has %d bytes", end, unsafe.Offsetof(s.index), unsafe.Sizeof(s))
	}
}
