package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// some sets entries of all kinds, and returns what they are.
func some(t testing.TB, c *Cache) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i := range 3000 {
		all[fmt.Sprint("key", i)] = fmt.Sprint("value", i*i)
	}
	all[""] = "of the empty key"
	all["empty"] = ""
	all["long"] = string(bytes.Repeat([]byte("ab"), 900_000))
	all[string(make([]byte, MaxKey))] = "of the longest key"
	for k, v := range all {
		if err := c.Set([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// contents returns all entries.
func contents(c *Cache) map[string]string {
	all := map[string]string{}
	for k, v := range c.All() {
		all[string(k)] = string(v)
	}
	return all
}

func same(a, b map[string]string) bool {
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return len(a) == len(b)
}

// TestSnapshot reads a snapshot back: from a file that can be read twice, from a stream, in small pieces.
func TestSnapshot(t *testing.T) {
	c, _ := open(t, Config{})
	want := some(t, c)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	size := int64(b.Len())
	b.WriteString("behind it")
	for name, r := range map[string]io.Reader{
		"seeker": bytes.NewReader(b.Bytes()), "stream": io.MultiReader(bytes.NewReader(b.Bytes())), "pieces": iotest.HalfReader(bytes.NewReader(b.Bytes())),
	} {
		other, _ := open(t, Config{})
		if err := other.Set([]byte("it stays"), []byte("so")); err != nil {
			t.Fatal(err)
		}
		if n, err := other.ReadFrom(r); err != nil || n != size {
			t.Fatalf("%s: %d bytes of %d, %v", name, n, size, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "behind it" {
			t.Errorf("%s: %q is left", name, rest)
		}
		got := contents(other)
		if got["it stays"] != "so" {
			t.Errorf("%s: an entry is gone", name)
		}
		if delete(got, "it stays"); !same(got, want) {
			t.Errorf("%s: %d entries, want %d", name, len(got), len(want))
		}
	}
}

// TestTornSnapshot cuts and changes a snapshot everywhere: an error says so, and the cache is as it was.
func TestTornSnapshot(t *testing.T) {
	c, _ := open(t, Config{})
	for i := range 50 {
		if err := c.Set(fmt.Append(nil, "key", i), make([]byte, 20)); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, Config{})
	if err := other.Set([]byte("mine"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, snapshot []byte) {
		t.Helper()
		for i, r := range []io.Reader{bytes.NewReader(snapshot), bytes.NewBuffer(snapshot)} {
			if i == 1 && len(snapshot)%64 != 0 { // it takes longer
				continue
			}
			if _, err := other.ReadFrom(r); !errors.Is(err, ErrSnapshot) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if other.Len() != 1 {
			t.Fatalf("%s: %d entries", what, other.Len())
		}
	}
	for n := range b.Len() {
		refused(fmt.Sprint("cut after ", n), b.Bytes()[:n])
		changed := bytes.Clone(b.Bytes())
		changed[n] ^= 1 << (n % 8)
		refused(fmt.Sprint("changed at ", n), changed)
	}
	failure := errors.New("broken pipe")
	if _, err := other.ReadFrom(io.MultiReader(bytes.NewReader(b.Bytes()[:100]), iotest.ErrReader(failure))); !errors.Is(err, failure) || other.Len() != 1 {
		t.Errorf("a reader that fails: %v", err)
	}
	if _, err := c.WriteTo(failingWriter{failure}); !errors.Is(err, failure) {
		t.Errorf("a writer that fails: %v", err)
	}
}

// TestLargeSnapshot reads a snapshot of several batches, which helpers set: into an empty cache, over its entries, into one that is too small. A panic of
// OnEvict meets the caller, and so does Close.
func TestLargeSnapshot(t *testing.T) {
	const n = 12 * batchBytes / 1000 // three times what the tiny cache has room for
	c, _ := open(t, Config{})
	want := map[string]string{}
	for i := range n {
		key, value := fmt.Sprint("key", i), fmt.Sprintf("%*d", 900+i%200, i)
		want[key] = value
		if err := c.SetTTL([]byte(key), []byte(value), Forever-time.Duration(i%2)); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, Config{})
	for range 2 {
		if _, err := other.ReadFrom(bytes.NewReader(b.Bytes())); err != nil {
			t.Fatal(err)
		}
		if got := contents(other); !same(got, want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		other.check()
	}

	evictions, fails := 0, false // only the caller calls OnEvict
	tiny, _ := open(t, Config{Limit: 4 << 20, OnEvict: func(_, _ []byte) {
		if evictions++; fails {
			panic("on evict")
		}
	}})
	if _, err := tiny.ReadFrom(bytes.NewReader(b.Bytes())); err != nil || tiny.Len()+evictions != n {
		t.Fatalf("%v; %d entries, %d were evicted, of %d", err, tiny.Len(), evictions, n)
	}
	fails = true
	func() {
		defer func() {
			if recover() != "on evict" {
				t.Error("no panic")
			}
		}()
		_, _ = tiny.ReadFrom(bytes.NewReader(b.Bytes()))
	}()
	fails = false
	tiny.check()
	if _, err := tiny.ReadFrom(&closing{Reader: bytes.NewReader(b.Bytes()), c: tiny}); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("Close in the middle: %v", err)
	}
}

// closing closes a cache when half of a snapshot has been read for the second time.
type closing struct {
	*bytes.Reader
	c     *Cache
	again bool
}

func (r *closing) Seek(at int64, whence int) (int64, error) {
	r.again = whence == io.SeekStart
	return r.Reader.Seek(at, whence)
}

func (r *closing) Read(b []byte) (int, error) {
	if r.again && int64(r.Len()) < r.Size()/2 {
		_ = r.c.Close()
	}
	return r.Reader.Read(b)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestSnapshotTTL keeps points in time.
func TestSnapshotTTL(t *testing.T) {
	c, clock := open(t, Config{})
	*clock = int64(time.Hour)
	for key, ttl := range map[string]time.Duration{"hour": time.Hour, "second": time.Second, "ever": Forever} {
		if err := c.SetTTL([]byte(key), nil, ttl); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	other, later := open(t, Config{})
	*later = int64(5 * time.Minute)
	if _, err := other.ReadFrom(&b); err != nil {
		t.Fatal(err)
	}
	if ttl, ok := other.TTL([]byte("hour")); !ok || ttl > time.Hour || ttl < 50*time.Minute {
		t.Errorf("an hour has become %v, %v", ttl, ok)
	}
	if ttl, ok := other.TTL([]byte("ever")); !ok || ttl != Forever {
		t.Errorf("ever has become %v, %v", ttl, ok)
	}
}

// FuzzSnapshot reads bytes as the blocks of a snapshot, with right checksums: nothing but an error may come of it.
func FuzzSnapshot(f *testing.F) {
	c, err := Open(Config{})
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	if err := c.Set([]byte("key"), []byte("value")); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes()[headerLen+blockHead:b.Len()-endLen], uint16(3), uint64(1))
	f.Add([]byte{0, 0, 0}, uint16(1), uint64(1))
	f.Add([]byte{3, 5, 0, 'k', 'e', 'y', 'v'}, uint16(2), uint64(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, uint16(100), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16, entries uint64) {
		var b bytes.Buffer
		sw := &snapshotWriter{w: &b, buf: make([]byte, blockHead), entries: entries}
		_ = sw.start()
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			sw.buf = append(sw.buf[:blockHead], rest[:n]...)
			_ = sw.flush()
			rest = rest[n:]
		}
		_ = sw.end()
		cache, _ := open(t, Config{})
		n, err := cache.ReadFrom(bytes.NewReader(b.Bytes()))
		if err == nil && n != int64(b.Len()) || err != nil && !errors.Is(err, ErrSnapshot) || err != nil && cache.Len() > 0 {
			t.Fatalf("%d bytes of %d, %v; %d entries", n, b.Len(), err, cache.Len())
		}
	})
}
