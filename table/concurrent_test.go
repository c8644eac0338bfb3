package table

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// check panics if an invariant of a shard does not hold. Nobody else uses the table.
func (c *Concurrent[K, V]) check() {
	for i := range c.shards {
		t := &c.shards[i]
		t.check()
		t.forEach(func(e *slot[K, V]) bool {
			if shard := c.shardOf(c.hash(&e.key)); e.key == e.key && shard != uint32(i) {
				panic(fmt.Sprintf("key %v of shard %d is in %d", e.key, shard, i))
			}
			return true
		})
	}
}

// FuzzConcurrent does the same operations to a Concurrent, a Map and Go's map. Each operation is three bytes: its kind, and a
// key. Few keys occur, so that they come again.
func FuzzConcurrent(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 1, 3, 1, 1, 2, 2, 1, 2, 3, 0, 0})
	grow := []byte{}
	for i := range 3000 {
		grow = append(grow, 0, byte(i), byte(i>>8))
	}
	for i := range 3000 {
		grow = append(grow, 2, byte(i), byte(i>>8))
	}
	f.Add(grow)
	f.Add(append(grow[:6000:6000], 4, 9, 0, 5, 255, 3, 6, 7, 0, 7, 0, 0, 8, 1, 1, 9, 0, 0))
	churn := []byte{}
	for i := range 3000 {
		churn = append(churn, byte(i%4), byte(i), byte(i>>8), 2, byte(i-200), byte((i-200)>>8), byte(i%10), 0, 0)
	}
	f.Add(churn)
	f.Fuzz(func(t *testing.T, ops []byte) {
		c := NewConcurrent[uint16, uint64](openTest(t, arena.Config{}), 0)
		m := NewMap[uint16, uint64](openTest(t, arena.Config{}), 0)
		model := map[uint16]uint64{}
		for i := 0; i+2 < len(ops); i += 3 {
			k := uint16(ops[i+1]) | uint16(ops[i+2])<<8
			want, there := model[k]
			switch ops[i] % 10 {
			case 0:
				c.Put(k, uint64(i))
				m.Put(k, uint64(i))
				model[k] = uint64(i)
			case 1:
				if added := c.Add(k, uint64(i)); added == there || m.Add(k, uint64(i)) != added {
					t.Fatalf("Add(%d): %v; model %v", k, added, there)
				}
				if !there {
					model[k] = uint64(i)
				}
			case 2:
				if c.Delete(k) != there || m.Delete(k) != there {
					t.Fatalf("Delete(%d): model %v", k, there)
				}
				delete(model, k)
			case 3: // Update: insert, change, leave or delete
				v, is := c.Update(k, func(old uint64, was bool) (uint64, bool) {
					if old != want || was != there {
						t.Fatalf("Update(%d) gets %d %v; model %d %v", k, old, was, want, there)
					}
					return old + uint64(i%3), i%4 != 0
				})
				if i%4 != 0 {
					model[k] = want + uint64(i%3)
					m.Put(k, model[k])
				} else {
					delete(model, k)
					m.Delete(k)
				}
				if now, there := model[k]; v != now || is != there {
					t.Fatalf("Update(%d) returns %d %v; model %d %v", k, v, is, now, there)
				}
			case 4: // change the table while All iterates
				seen := map[uint16]bool{}
				before := maps.Clone(model)
				for at, v := range c.All() {
					if was, ok := before[at]; seen[at] || !(ok && v == was) && v != 1 {
						t.Fatalf("All: %d = %d; model %d; seen %v", at, v, model[at], seen[at])
					}
					seen[at] = true
					if at%3 == 0 {
						c.Delete(at ^ k)
						m.Delete(at ^ k)
						delete(model, at^k)
					} else if len(seen) < 100 {
						c.Put(at+k, 1)
						m.Put(at+k, 1)
						model[at+k] = 1
					}
				}
				for k := range model {
					if _, was := before[k]; was && !seen[k] && model[k] == before[k] {
						t.Fatalf("All: %d did not come", k)
					}
				}
			case 5: // the same, with Scan
				seen := map[uint16]bool{}
				before := maps.Clone(model)
				for cursor, steps := Cursor(0), 0; ; steps++ {
					for at := range c.Scan(&cursor, 1+int(k%50)) {
						if seen[at] {
							t.Fatalf("Scan: %d again", at)
						}
						seen[at] = true
						if at%2 == 0 {
							c.Delete(at)
							m.Delete(at)
							delete(model, at)
						}
					}
					if steps == 3 {
						c.Shrink()
					}
					if cursor == 0 {
						break
					}
				}
				for k := range before {
					if !seen[k] {
						t.Fatalf("Scan: %d did not come", k)
					}
				}
			case 6:
				if k%8 == 0 {
					c.Clear()
					m.Clear()
					clear(model)
				}
			case 7:
				c.Shrink()
			case 8:
				n := 0
				for at, v := range c.Sample(5) {
					if want, ok := model[at]; !ok || v != want {
						t.Fatalf("Sample: %d = %d; model %d %v", at, v, want, ok)
					}
					n++
				}
				if n != 5 && len(model) > 0 {
					t.Fatalf("Sample(5) of %d: %d", len(model), n)
				}
			case 9:
				keys, values, found := []uint16{k, k + 1, k ^ 7, k}, make([]uint64, 4), make([]bool, 4)
				hits := c.GetBatch(keys, values, found)
				for j, k := range keys {
					if want, there := model[k]; values[j] != want || found[j] != there {
						t.Fatalf("GetBatch: %d = %d %v; model %d %v", k, values[j], found[j], want, there)
					} else if there {
						hits--
					}
				}
				if hits != 0 {
					t.Fatalf("GetBatch: hits are wrong by %d", hits)
				}
			}
			v, ok := c.Get(k)
			if want, there := model[k]; v != want || ok != there {
				t.Fatalf("Get(%d): %d %v; model %d %v", k, v, ok, want, there)
			}
			if w, is := c.GetHashed(c.HashOf(k), k); w != v || is != ok {
				t.Fatalf("GetHashed(%d): %d %v; Get %d %v", k, w, is, v, ok)
			}
			if c.Len() != len(model) {
				t.Fatalf("Len: %d; model %d", c.Len(), len(model))
			}
		}
		c.check()
		if got := maps.Collect(c.All()); !maps.Equal(got, model) || !maps.Equal(maps.Collect(m.All()), model) {
			t.Fatalf("All: %v; model %v", got, model)
		}
		keys, values := 0, uint64(0)
		for range c.Keys() {
			keys++
		}
		for v := range c.Values() {
			values += v
		}
		for _, v := range model {
			values -= v
		}
		if keys != len(model) || values != 0 {
			t.Fatalf("%d keys, model %d; values differ by %d", keys, len(model), values)
		}
	})
}

// TestConcurrentKeys: keys of all kinds, also those that are not equal to themselves.
func TestConcurrentKeys(t *testing.T) {
	testConcurrentKeys(t, "uint8", 200, func(i int) uint8 { return uint8(i) })
	testConcurrentKeys(t, "uint32", 20000, func(i int) uint32 { return uint32(i) << 10 })
	testConcurrentKeys(t, "int64", 20000, func(i int) int64 { return int64(i) << 40 })
	testConcurrentKeys(t, "[2]uint64", 20000, func(i int) [2]uint64 { return [2]uint64{uint64(i % 100), uint64(i / 100)} })
	testConcurrentKeys(t, "[5]byte", 20000, func(i int) [5]byte { return [5]byte{3: byte(i >> 8), 4: byte(i)} })
	testConcurrentKeys(t, "mixed", 20000, func(i int) mixed { return mixed{f: float32(i), i: int16(i), g: float64(-i)} })
	testConcurrentKeys(t, "float64", 20000, func(i int) float64 { return float64(i) / 3 })
	testConcurrentKeys(t, "none", 1, func(int) struct{} { return struct{}{} })

	c := NewConcurrent[float64, int](openTest(t, arena.Config{}), 0)
	minus := math.Copysign(0, -1)
	c.Put(0, 1)
	c.Put(minus, 2)
	for k, v := range c.All() {
		if !math.Signbit(k) || v != 2 {
			t.Errorf("-0 must replace 0: %v %d", k, v)
		}
	}
	for i := range 4000 { // as in Go's maps: not equal to itself, never found
		c.Put(math.NaN(), i)
	}
	if _, ok := c.Get(math.NaN()); ok || c.Len() != 4001 || c.Delete(math.NaN()) {
		t.Errorf("NaN: found %v, %d entries", ok, c.Len())
	}
	sum, n := 0, 0
	for k, v := range c.All() {
		if k != k {
			sum += v
			n++
		}
	}
	if n != 4000 || sum != 4000*3999/2 {
		t.Errorf("%d NaNs, sum %d", n, sum)
	}
	c.check()
}

func testConcurrentKeys[K comparable](t *testing.T, what string, n int, key func(i int) K) {
	t.Helper()
	for _, hint := range []int{0, n} {
		c := NewConcurrent[K, int](openTest(t, arena.Config{}), hint)
		for i := range n {
			c.Put(key(i), i)
		}
		c.check()
		for i := range n {
			if v, ok := c.Get(key(i)); !ok || v != i {
				t.Fatalf("%s: Get(%v) = %d, %v; want %d", what, key(i), v, ok, i)
			}
			if i%2 == 0 && !c.Delete(key(i)) {
				t.Fatalf("%s: Delete(%v)", what, key(i))
			}
		}
		c.check()
		if c.Len() != n/2 {
			t.Errorf("%s: %d left of %d", what, c.Len(), n)
		}
		for i := range n {
			if _, ok := c.Get(key(i)); ok != (i%2 == 1) {
				t.Fatalf("%s: %v after deletion: %v", what, key(i), ok)
			}
		}
		// Shards are of about the same size, whatever the keys are.
		if n >= 20000 {
			for i := range c.shards {
				if mean := float64(c.Len()) / float64(len(c.shards)); math.Abs(float64(c.countOf(i))-mean) > 8*math.Sqrt(mean) {
					t.Errorf("%s: shard %d has %d entries, %.0f are usual", what, i, c.countOf(i), mean)
				}
			}
		}
	}
}

// TestConcurrentValues: values of all sizes.
func TestConcurrentValues(t *testing.T) {
	a := openTest(t, arena.Config{})
	none, large := NewConcurrent[uint64, struct{}](a, 0), NewConcurrent[uint64, [300]uint64](openTest(t, arena.Config{}), 0)
	for i := range uint64(2000) {
		none.Put(i, struct{}{})
		large.Put(i, [300]uint64{0: i, 299: ^i})
	}
	none.check()
	large.check()
	for i := range uint64(2000) {
		if _, ok := none.Get(i); !ok {
			t.Fatal(i)
		}
		if v, ok := large.Get(i); !ok || v[0] != i || v[299] != ^i {
			t.Fatal(i, v)
		}
	}
	// Padding of values does not matter to Update.
	type padded struct {
		a byte
		b uint64
		c byte
	}
	p := NewConcurrent[int, padded](openTest(t, arena.Config{}), 0)
	dirty := padded{1, 2, 3}
	*(*byte)(unsafe.Add(unsafe.Pointer(&dirty), 1)) = 77
	p.Put(1, dirty)
	for i := range 10 {
		if v, ok := p.Update(1, func(old padded, there bool) (padded, bool) { return padded{old.a, old.b + 1, old.c}, true }); !ok || v.b != uint64(i+3) {
			t.Fatal(v, ok)
		}
	}
}

// TestConcurrentUpdate: what f does while Update runs, and what becomes of it.
func TestConcurrentUpdate(t *testing.T) {
	c := NewConcurrent[int, int](openTest(t, arena.Config{}), 0)
	calls := 0
	v, there := c.Update(1, func(old int, there bool) (int, bool) {
		if calls++; calls < 3 {
			c.Put(1, calls*10) // it has changed when f returns
		}
		return old + 1, true
	})
	if calls != 3 || v != 21 || !there {
		t.Errorf("%d calls, %d %v", calls, v, there)
	}
	// A panic changes nothing and locks nothing.
	func() {
		defer func() { recover() }()
		c.Update(1, func(int, bool) (int, bool) { panic("no") })
	}()
	if v, ok := c.Get(1); v != 21 || !ok || !c.Delete(1) {
		t.Errorf("after a panic: %d %v", v, ok)
	}
	if v, there := c.Update(1, func(old int, there bool) (int, bool) { return 5, false }); v != 0 || there || c.Len() != 0 {
		t.Errorf("not kept: %d %v, Len %d", v, there, c.Len())
	}
	// A value that stays does not disturb searches.
	c.Put(1, 1)
	before := c.locks[c.shardOf(c.HashOf(1))].counter.Load()
	if v, there := c.Update(1, func(old int, there bool) (int, bool) { return old, true }); v != 1 || !there {
		t.Errorf("left: %d %v", v, there)
	}
	if c.locks[c.shardOf(c.HashOf(1))].counter.Load() != before {
		t.Error("an Update that changes nothing moves the counter")
	}
}

// TestConcurrentPop: popping one entry after another is linear.
func TestConcurrentPop(t *testing.T) {
	c := NewConcurrent[int, int](openTest(t, arena.Config{}), 0)
	n := 50_000
	for i := range n {
		c.Put(i, i)
	}
	for c.Len() > 0 {
		for k := range c.All() {
			if !c.Delete(k) {
				t.Fatal(k)
			}
			n--
			break
		}
	}
	if n != 0 {
		t.Fatal(n)
	}
	c.check()
}

// TestConcurrentSample: each entry is as likely as any other.
func TestConcurrentSample(t *testing.T) {
	c := NewConcurrent[int, int](openTest(t, arena.Config{}), 0)
	for range c.Sample(10) {
		t.Fatal("an entry of an empty table")
	}
	const n, each = 200, 400
	for i := range n {
		c.Put(i, i)
	}
	times := map[int]int{}
	for k, v := range c.Sample(n * each) {
		if k != v {
			t.Fatal(k, v)
		}
		times[k]++
	}
	for i := range n {
		if d := times[i] - each; d*d > 50*each {
			t.Errorf("%d came %d times, %d are usual", i, times[i], each)
		}
	}
}

// TestConcurrentCursor: every place has a Cursor, which leads back to it.
func TestConcurrentCursor(t *testing.T) {
	for range 10000 {
		depth := rand.IntN(32)
		at := spot{stretch{uint32(uint64(rand.Uint32()) >> (32 - depth) << (32 - depth)), depth}, rand.Uint64N(classes), rand.Uint64N(1<<shardUpper) * shardStep}
		shard := rand.Uint32N(mostShards)
		if s, back := at.cursor(shard).spot(); s != shard || back != at {
			t.Fatalf("%d %v became %d %v", shard, at, s, back)
		}
	}
}

// TestOutsideConcurrentAtLimit: a program that replaces entries where the arena is full, and evicts more until an insertion succeeds, keeps nine
// tenths of what there was room for: shards take blocks of others.
func TestOutsideConcurrentAtLimit(t *testing.T) {
	// Each shard has free slots in its last block, and there are more shards where there are more processors: the figures are for two.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for limit, percent := range map[int]int{288 << 10: 60, 560 << 10: 70, 1 << 20: 78, 4 << 20: 86} {
		a := openTest(t, arena.Config{Limit: limit})
		c := NewConcurrent[uint64, uint64](a, 0)
		keys := []uint64{}
		for {
			k := rand.Uint64()
			if err := c.TryPut(k, k); errors.Is(err, guard.ErrNoMemory) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
		}
		c.check()
		if used := len(keys) * 16; used < limit/100*percent {
			t.Errorf("full with %d entries, which are %d bytes of %d", len(keys), used, limit)
		}
		full := len(keys)
		for range hammerRounds(2 * full) {
			i := rand.IntN(len(keys))
			c.Delete(keys[i])
			keys[i] = rand.Uint64()
			for {
				err := c.TryPut(keys[i], keys[i])
				if err == nil {
					break
				}
				if !errors.Is(err, guard.ErrNoMemory) {
					t.Fatal(err)
				}
				victim := keys[len(keys)-1]
				if i == len(keys)-1 {
					victim, keys[i-1] = keys[i-1], keys[i]
					i--
				}
				keys = keys[:len(keys)-1]
				c.Delete(victim)
			}
		}
		c.check()
		t.Logf("%d bytes: %.3f of %d entries stay", limit, float64(len(keys))/float64(full), full)
		if len(keys) < full/10*9 {
			t.Errorf("of %d entries, which had room in %d bytes, %d stay", full, limit, len(keys))
		}
		for _, k := range keys {
			if v, ok := c.Get(k); v != k || !ok {
				t.Fatal(k, v, ok)
			}
		}
	}
}

// TestConcurrentRefusedTogether: two goroutines are refused in a shard while another shard can spare a single block. Both get their
// room, the one that looks for a block after the other has moved it, too.
func TestConcurrentRefusedTogether(t *testing.T) {
	c := NewConcurrent[uint64, uint64](openTest(t, arena.Config{Limit: 1 << 20}), 0)
	var keys []uint64
	next := uint64(0)
	for ; c.TryPut(next, next) == nil; next++ {
		keys = append(keys, next)
	}
	full := c.shardOf(c.hash(&next))
	other := (full + 1) % uint32(len(c.shards))
	for i, slots := 0, c.shards[other].root.slots(); slots > 0; i++ {
		if c.shardOf(c.hash(&keys[i])) == other {
			c.Delete(keys[i])
			slots--
		}
	}
	insert := func() error {
		for next++; c.shardOf(c.hash(&next)) != full; next++ {
		}
		return c.shards[full].insertEntry(c.hash(&next), next, next)
	}
	first, second := insert(), insert()
	if !errors.Is(first, guard.ErrNoMemory) || !errors.Is(second, guard.ErrNoMemory) {
		t.Fatalf("insertions into a full shard: %v, %v", first, second)
	}
	for i, err := range []error{first, second} {
		if !c.makeRoom(full, 0, err) {
			t.Errorf("refusal %d: no room", i)
		} else if err := insert(); err != nil {
			t.Errorf("refusal %d: there is room, and %v", i, err)
		}
	}
	var err error
	for err == nil {
		err = insert()
	}
	if c.makeRoom(full, 0, err) {
		t.Error("no shard can spare a block, but makeRoom says so")
	}
	c.check()
}

// TestConcurrentOnSoft: Budget.OnSoft runs while no shard is locked, so it may use the table.
func TestConcurrentOnSoft(t *testing.T) {
	a := openTest(t, arena.Config{})
	c := NewConcurrent[int, int](a, 0)
	called := 0
	committed := guard.Usage().Committed
	old, err := guard.SetBudget(guard.Budget{Soft: committed + 2<<20, OnSoft: func(int64) {
		called++
		for i := range 1000 {
			c.Put(-i, i)
			c.Get(i)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(old)
	for i := range 400_000 {
		c.Put(i, i)
	}
	if called == 0 {
		t.Error("OnSoft was not called")
	}
	if region.Reclaim() {
		t.Error("OnSoft is left due")
	}
	c.check()
}

// TestConcurrentEnds: after the arena has freed the table, every call is a violation.
func TestConcurrentEnds(t *testing.T) {
	for what, end := range map[string]func(a *arena.Arena, m arena.Mark){
		"Reset":  func(a *arena.Arena, _ arena.Mark) { a.Reset() },
		"Rewind": func(a *arena.Arena, m arena.Mark) { a.Rewind(m) },
		"Close":  func(a *arena.Arena, _ arena.Mark) { a.Close() },
	} {
		a := openTest(t, arena.Config{Name: "a"})
		early := a.Mark()
		c := NewConcurrent[int, int](a, 0)
		between := a.Mark()
		for i := range 10000 {
			c.Put(i, i)
		}
		mark := early
		if what == "Rewind" && rand.IntN(2) == 0 {
			mark = between // below what it grew to
		}
		end(a, mark)
		for name, call := range concurrentCalls(c) {
			var v *guard.Violation
			if err := panicOf(call); !errors.As(err, &v) || v.Kind != guard.UseAfterReset || v.Region != "a" || v.Op != "table.Concurrent."+name {
				t.Errorf("%s after %s: %v", name, what, err)
			}
		}
	}
	// Memory that others allocated later does not concern the table.
	a := openTest(t, arena.Config{})
	c := NewConcurrent[int, int](a, 0)
	c.Put(1, 1)
	mark := a.Mark()
	a.Alloc(1000, 8)
	a.Rewind(mark)
	if v, ok := c.Get(1); v != 1 || !ok {
		t.Error("the table is lost")
	}
	// A loop over a table that ends.
	var v *guard.Violation
	if err := panicOf(func() {
		for range 100_000 {
			c.Put(rand.Int(), 1)
		}
		for range c.All() {
			a.Reset()
		}
	}); !errors.As(err, &v) {
		t.Errorf("Reset in a loop: %v", err)
	}
}

func concurrentCalls(c *Concurrent[int, int]) map[string]func() {
	return map[string]func(){
		"Len": func() { c.Len() }, "Get": func() { c.Get(1) }, "Put": func() { c.Put(1, 1) }, "TryPut": func() { c.TryPut(1, 1) },
		"Add": func() { c.Add(1, 1) }, "TryAdd": func() { c.TryAdd(1, 1) }, "Delete": func() { c.Delete(1) }, "Clear": func() { c.Clear() },
		"Shrink": func() { c.Shrink() }, "HashOf": func() { c.HashOf(1) }, "GetHashed": func() { c.GetHashed(1, 1) },
		"GetBatch":  func() { c.GetBatch([]int{1}, []int{1}, nil) },
		"Update":    func() { c.Update(1, func(int, bool) (int, bool) { return 1, true }) },
		"TryUpdate": func() { c.TryUpdate(1, func(int, bool) (int, bool) { return 1, true }) },
		"All":       func() { c.All()(func(int, int) bool { return true }) },
		"Keys":      func() { c.Keys()(func(int) bool { return true }) },
		"Values":    func() { c.Values()(func(int) bool { return true }) },
		"Scan":      func() { c.Scan(new(Cursor), 1)(func(int, int) bool { return true }) },
		"Sample":    func() { c.Sample(1)(func(int, int) bool { return true }) },
	}
}

// TestConcurrentZeroValue: the violation of using a zero or nil table names the function that makes one.
func TestConcurrentZeroValue(t *testing.T) {
	null := concurrentCalls(nil)
	delete(null, "Get") // Go's own panic
	delete(null, "GetHashed")
	for what, calls := range map[string]map[string]func(){"zero": concurrentCalls(new(Concurrent[int, int])), "nil": null} {
		for name, call := range calls {
			var v *guard.Violation
			if err := panicOf(call); !errors.As(err, &v) || v.Kind != guard.ZeroValue || v.Detail != "table.NewConcurrent makes a Concurrent" || v.Op != "table.Concurrent."+name {
				t.Errorf("%s of a %s Concurrent: %v", name, what, err)
			}
		}
	}
	var v *guard.Violation
	if err := panicOf(func() { NewConcurrent[int, int](nil, 0) }); !errors.As(err, &v) || v.Kind != guard.ZeroValue {
		t.Errorf("in a nil Arena: %v", err)
	}
	a := openTest(t, arena.Config{})
	if _, err := TryNewConcurrent[int, int](a, -1); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("hint -1: %v", err)
	}
	if err := panicOf(func() { NewConcurrent[string, int](a, 0) }); err == nil || !strings.Contains(err.Error(), "string") {
		t.Errorf("keys with pointers: %v", err)
	}
}

// TestOutsideFailedNewConcurrent: a table that does not fit keeps no memory of the arena and no callback.
func TestOutsideFailedNewConcurrent(t *testing.T) {
	a := openTest(t, arena.Config{Limit: 300_000})
	before := a.Stats().Live
	for _, hint := range []int{20_000, 1_000_000, math.MaxInt} {
		c := new(Concurrent[uint64, uint64])
		if err := c.open(a, hint); !errors.Is(err, guard.ErrNoMemory) {
			t.Fatal(hint, err)
		}
		if live := a.Stats().Live; live != before {
			t.Errorf("%d bytes live after a failure, %d before", live, before)
		}
		if a.Reset(); c.supply.ended.Load() {
			t.Error("a callback is left after a failure")
		}
	}
	if c, err := TryNewConcurrent[uint64, uint64](a, 5000); err != nil {
		t.Error(err)
	} else {
		for i := range uint64(5000) {
			if err := c.TryPut(i, i); err != nil {
				t.Fatalf("before its hint, at %d: %v", i, err)
			}
		}
	}
}

// TestConcurrentHintTooLarge: the error names the hint of the caller, not that of a shard.
func TestConcurrentHintTooLarge(t *testing.T) {
	hint := math.MaxInt
	if math.MaxInt == math.MaxInt32 {
		t.Skip("the arena is too small for such a hint, and the error says so")
	}
	c, err := TryNewConcurrent[uint64, uint64](openTest(t, arena.Config{}), hint)
	if c != nil || !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), fmt.Sprint("for ", hint, " entries")) {
		t.Errorf("a table for %d entries: %v, %v", hint, c, err)
	}
}
