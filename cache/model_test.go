package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// open opens a cache that the test closes, with a clock that stands still unless the test moves it.
func open(t testing.TB, config Config) (*Cache, *int64) {
	t.Helper()
	c, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	clock := new(int64)
	c.clock = func() int64 { return *clock }
	t.Cleanup(func() {
		if !c.closed.Load() {
			c.check()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c, clock
}

// model is what a cache should hold. Without a Limit nothing else may be there, and nothing may be missing; with one, entries
// may be missing.
type model struct {
	t       testing.TB
	c       *Cache
	clock   *int64
	limited bool
	entries map[string]modelEntry
}

type modelEntry struct {
	value    string
	deadline int64 // 0 for none
}

// want returns what the model has for a key.
func (m *model) want(key string) (e modelEntry, ok bool) {
	e, ok = m.entries[key]
	if ok && e.deadline != 0 && e.deadline <= *m.clock {
		delete(m.entries, key)
		return modelEntry{}, false
	}
	return e, ok
}

// agree compares what a call found with the model. A key that a cache with a Limit has lost is lost in the model, too.
func (m *model) agree(op, key string, value []byte, ok bool) {
	m.t.Helper()
	e, want := m.want(key)
	switch {
	case !ok && want && m.limited:
		delete(m.entries, key)
	case ok != want:
		m.t.Fatalf("%s of %q: ok is %v, want %v", op, short(key), ok, want)
	case ok && string(value) != e.value:
		m.t.Fatalf("%s of %q: a value of %d bytes, want %d", op, short(key), len(value), len(e.value))
	}
}

func short(s string) string {
	if len(s) > 20 {
		return fmt.Sprintf("%s… (%d bytes)", s[:20], len(s))
	}
	return s
}

// step does one operation that bytes say.
func (m *model) step(op, k, size, extra byte) {
	t, c := m.t, m.c
	key := fmt.Sprint("k", k)
	if k%16 == 5 {
		key += string(make([]byte, int(k)*200)) // up to 50 KB: apart
	}
	if k == 7 {
		key = ""
	}
	n := int(size)
	switch {
	case size >= 254:
		n = int(size) * 300 // apart
	case size >= 250:
		n = int(size) * 40
	}
	value := bytes.Repeat([]byte{extra}, n)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	switch op % 16 {
	case 0, 1, 2:
		must(c.Set([]byte(key), value))
		m.entries[key] = modelEntry{string(value), 0}
	case 3:
		ttl := time.Duration(int(extra) - 20)
		must(c.SetTTL([]byte(key), value, ttl))
		if delete(m.entries, key); ttl > 0 {
			m.entries[key] = modelEntry{string(value), *m.clock + int64(ttl)}
		}
	case 4, 5:
		got, ok := c.Get([]byte("before"), []byte(key))
		if !bytes.HasPrefix(got, []byte("before")) {
			t.Fatalf("Get overwrote dst: %q", got)
		}
		m.agree("Get", key, got[6:], ok)
	case 6:
		var got []byte
		ok := c.View([]byte(key), func(v []byte) { got = bytes.Clone(v) })
		m.agree("View", key, got, ok)
	case 7:
		_, want := m.want(key)
		if got := c.Delete([]byte(key)); got && !want || !got && want && !m.limited {
			t.Fatalf("Delete of %q: %v, want %v", short(key), got, want)
		}
		delete(m.entries, key)
	case 8:
		var before modelEntry
		keep := extra%4 != 0
		must(c.Update([]byte(key), func(old []byte, ok bool) ([]byte, bool) {
			m.agree("Update", key, old, ok)
			before = m.entries[key]
			if extra%8 == 1 {
				value = old[:len(old)/2]
			}
			value = bytes.Clone(value)
			return value, keep
		}))
		if delete(m.entries, key); keep {
			m.entries[key] = modelEntry{string(value), before.deadline}
		}
	case 9:
		e, _ := m.want(key)
		if m.limited {
			_, ok := c.Get(nil, []byte(key))
			m.agree("Get", key, []byte(e.value), ok)
			e, _ = m.want(key)
		}
		sum, err := c.Add([]byte(key), int64(extra))
		if _, there := m.want(key); there && len(e.value) != 8 {
			if err != nil {
				return
			}
			if !m.limited {
				t.Fatalf("Add to a value of %d bytes", len(e.value))
			}
			e = modelEntry{} // it was evicted to make room for the sum
		}
		must(err)
		want := int64(extra)
		if e.value != "" {
			want += int64(binary.LittleEndian.Uint64([]byte(e.value)))
		}
		if sum == int64(extra) && m.limited {
			e.deadline = 0 // evicted meanwhile
		} else if sum != want {
			t.Fatalf("Add: %d, want %d", sum, want)
		}
		m.entries[key] = modelEntry{string(binary.LittleEndian.AppendUint64(nil, uint64(sum))), e.deadline}
	case 10:
		ttl := time.Duration(int(extra) - 5)
		e, want := m.want(key)
		if got := c.Touch([]byte(key), ttl); got && !want || !got && want && !m.limited {
			t.Fatalf("Touch of %q: %v, want %v", short(key), got, want)
		} else if delete(m.entries, key); got && ttl > 0 {
			m.entries[key] = modelEntry{e.value, *m.clock + int64(ttl)}
		}
	case 11:
		ttl, ok := c.TTL([]byte(key))
		e, want := m.want(key)
		if !ok && want && m.limited {
			delete(m.entries, key)
			return
		}
		wantTTL := Forever
		if e.deadline > 0 {
			wantTTL = time.Duration(e.deadline - *m.clock)
		}
		if ok != want || ok && ttl != wantTTL {
			t.Fatalf("TTL of %q: %v, %v, want %v, %v", short(key), ttl, ok, wantTTL, want)
		}
	case 12:
		*m.clock += int64(extra) / 4
	case 13:
		switch {
		case extra < 4:
			c.Reset()
			clear(m.entries)
		case extra < 12:
			must(c.Purge())
		case extra < 20:
			m.iterate()
		case extra < 24:
			m.snapshot()
		}
	default:
		must(c.Set([]byte(key), value[:min(len(value), 8)]))
		m.entries[key] = modelEntry{string(value[:min(len(value), 8)]), 0}
	}
}

// iterate compares all entries.
func (m *model) iterate() {
	seen := map[string]string{}
	var cursor Cursor
	for {
		for k, v := range m.c.Scan(&cursor, 7) {
			if _, twice := seen[string(k)]; twice {
				m.t.Fatalf("%q comes twice", short(string(k)))
			}
			seen[string(k)] = string(v)
		}
		if cursor == 0 {
			break
		}
	}
	all := 0
	for k, v := range m.c.All() {
		if seen[string(k)] != string(v) {
			m.t.Fatalf("All and Scan differ at %q", short(string(k)))
		}
		all++
	}
	if all != len(seen) {
		m.t.Fatalf("All has %d entries, Scan %d", all, len(seen))
	}
	m.compare(seen)
}

// compare compares all that a cache has with the model.
func (m *model) compare(seen map[string]string) {
	for k := range m.entries {
		if e, ok := m.want(k); ok {
			v, there := seen[k]
			m.agree("iteration", k, []byte(v), there)
			_ = e
		}
		delete(seen, k)
	}
	for k := range seen {
		m.t.Fatalf("%q is there", short(k))
	}
}

// snapshot writes a snapshot, and compares what another cache reads.
func (m *model) snapshot() {
	var b bytes.Buffer
	n, err := m.c.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		m.t.Fatalf("WriteTo: %d bytes of %d, %v", n, b.Len(), err)
	}
	other, err := Open(Config{})
	if err != nil {
		m.t.Fatal(err)
	}
	defer other.Close()
	other.clock = func() int64 { return 0 }
	if n, err := other.ReadFrom(&b); err != nil || n == 0 || b.Len() > 0 {
		m.t.Fatalf("ReadFrom: %d bytes, %v; %d are left", n, err, b.Len())
	}
	other.check()
	seen := map[string]string{}
	for k, v := range other.All() {
		seen[string(k)] = string(v)
	}
	for k, e := range m.entries {
		if e.deadline != 0 { // the wall clock goes on, and deadlines of the test are some ns
			delete(m.entries, k)
			delete(seen, k)
			m.c.Delete([]byte(k))
		}
	}
	m.compare(seen)
}

// run runs operations, four bytes each.
func run(t testing.TB, limit int, ops []byte) {
	c, clock := open(t, Config{Limit: limit})
	m := &model{t: t, c: c, clock: clock, limited: limit > 0, entries: map[string]modelEntry{}}
	*clock = 1
	for len(ops) >= 4 {
		m.step(ops[0], ops[1], ops[2], ops[3])
		ops = ops[4:]
		if limit > 0 {
			if n := c.heap.Stats().Committed; n > int64(limit) {
				t.Fatalf("%d bytes are committed, the Limit is %d", n, limit)
			}
		}
	}
	c.check()
	m.iterate()
	c.check()
}

// FuzzCache runs operations against a map.
func FuzzCache(f *testing.F) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 4*(200<<seed%4))
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(seed%2 == 1, ops)
	}
	f.Fuzz(func(t *testing.T, limited bool, ops []byte) {
		limit := 0
		if limited {
			limit = MinLimit
		}
		run(t, limit, ops[:min(len(ops), 1<<16)])
	})
}

// TestModel runs many operations against a map.
func TestModel(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 6_000
	}
	for _, limit := range []int{0, MinLimit, 4 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(limit), 1))
			ops := make([]byte, 4*n)
			for i := range ops {
				ops[i] = byte(r.Uint32())
			}
			run(t, limit, ops)
		})
	}
}
