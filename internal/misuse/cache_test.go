package misuse

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-9a6c551e/offheap/cache"
)

// cacheCalls are all methods of a Cache. Each returns the error of its call, or an error of its own where the call found
// something.
var cacheCalls = []struct {
	name string
	call func(c *cache.Cache) error
	miss bool // the call has no error: it misses
}{
	{"Get", func(c *cache.Cache) error { _, ok := c.Get(nil, []byte("k")); return found(ok) }, true},
	{"Set", func(c *cache.Cache) error { return c.Set([]byte("k"), nil) }, false},
	{"SetTTL", func(c *cache.Cache) error { return c.SetTTL([]byte("k"), nil, time.Hour) }, false},
	{"Delete", func(c *cache.Cache) error { return found(c.Delete([]byte("k"))) }, true},
	{"View", func(c *cache.Cache) error { return found(c.View([]byte("k"), func([]byte) {})) }, true},
	{"Update", func(c *cache.Cache) error {
		return c.Update([]byte("k"), func([]byte, bool) ([]byte, bool) { return nil, true })
	}, false},
	{"Add", func(c *cache.Cache) error { _, err := c.Add([]byte("n"), 1); return err }, false},
	{"Touch", func(c *cache.Cache) error { return found(c.Touch([]byte("k"), time.Hour)) }, true},
	{"TTL", func(c *cache.Cache) error { _, ok := c.TTL([]byte("k")); return found(ok) }, true},
	{"Len", func(c *cache.Cache) error { return found(c.Len() > 0) }, true},
	{"Reset", func(c *cache.Cache) error { c.Reset(); return nil }, true},
	{"All", func(c *cache.Cache) error {
		for range c.All() {
			return found(true)
		}
		return nil
	}, true},
	{"Scan", func(c *cache.Cache) error {
		for range c.Scan(new(cache.Cursor), 1) {
			return found(true)
		}
		return nil
	}, true},
	{"Stats", func(c *cache.Cache) error { return found(c.Stats().Entries > 0) }, true},
	{"Purge", func(c *cache.Cache) error { return c.Purge() }, false},
	{"WriteTo", func(c *cache.Cache) error { _, err := c.WriteTo(io.Discard); return err }, false},
	{"ReadFrom", func(c *cache.Cache) error { _, err := c.ReadFrom(bytes.NewReader(nil)); return err }, false},
	{"Close", func(c *cache.Cache) error { return c.Close() }, false},
}

// found returns an error if a call found what should not be there.
func found(ok bool) error {
	if ok {
		return fmt.Errorf("an entry is there")
	}
	return nil
}

// cacheMisuse are the cases of cache: all calls of a nil, a zero and a closed Cache, and those below.
var cacheMisuse = slices.Concat(onUnopened("nil", nil), onUnopened("zero", new(cache.Cache)), onClosed(), []misuse{
	{"Open with a negative Limit", func(w *world) { _, err := cache.Open(cache.Config{Limit: -1}); w.must(err) },
		plainly(`error: cache: open "cache": the Limit of -1 bytes is below 1048576`)},
	{"Open with too small a Limit", func(w *world) { _, err := cache.Open(cache.Config{Limit: 1000}); w.must(err) },
		plainly(`error: cache: open "cache": the Limit of 1000 bytes is below 1048576`)},
	{"Set of a key that is too long", func(w *world) { w.must(w.cache(0).Set(make([]byte, cache.MaxKey+1), nil)) },
		plainly(`error: cache: set "cache": a key of 65537 bytes, the most is 65536: too large for the cache`)},
	{"Set of a value that is too long", func(w *world) { w.must(w.cache(0).Set(nil, make([]byte, cache.MaxValue+1))) },
		plainly(`error: cache: set "cache": a value of 1073741825 bytes, the most is 1073741824: too large for the cache`)},
	{"Set of more than fits", func(w *world) { w.must(w.cache(cache.MinLimit).Set(nil, make([]byte, cache.MinLimit))) },
		plainly(`error: cache: set "cache": an entry of 1048576 bytes, the most is #: too large for the cache`)},
	{"Add to a text", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), []byte("text")))
		_, err := c.Add([]byte("k"), 1)
		w.must(err)
	}, plainly(`error: cache: add "cache": a value of 4 bytes: the value is no number of 8 bytes`)},
	{"ReadFrom of foreign bytes", func(w *world) {
		_, err := w.cache(0).ReadFrom(bytes.NewReader([]byte("a file of another program")))
		w.must(err)
	}, plainly(`error: cache: read "cache": it begins with other bytes: no whole snapshot of a cache`)},
	{"ReadFrom of half a snapshot", func(w *world) {
		c, b := w.cache(0), new(bytes.Buffer)
		w.must(c.Set([]byte("k"), []byte("v")))
		_, err := c.WriteTo(b)
		w.must(err)
		_, err = c.ReadFrom(bytes.NewReader(b.Bytes()[:b.Len()-1]))
		w.must(err)
	}, plainly(`error: cache: read "cache": it ends after # bytes: no whole snapshot of a cache`)},
	{"View without a function", func(w *world) { c := w.cache(0); w.must(c.Set(nil, nil)); c.View(nil, nil) },
		plainly("panic: runtime error: invalid memory address or nil pointer dereference")},
	{"Update without a function", func(w *world) { w.must(w.cache(0).Update(nil, nil)) },
		plainly("panic: runtime error: invalid memory address or nil pointer dereference")},
	{"Scan without a Cursor", func(w *world) {
		for range w.cache(0).Scan(nil, 1) {
		}
	}, plainly("panic: runtime error: invalid memory address or nil pointer dereference")},
	{"a value after its View", func(w *world) {
		c := w.cache(0)
		var kept []byte
		w.must(c.Set([]byte("k"), []byte("v")))
		c.View([]byte("k"), func(value []byte) { kept = value })
		w.must(c.Set([]byte("k"), []byte("w")))
		w.holds(kept[0] == 'w', "the value is another by now")
	}, plainly(notCaught)},
	{"write to a value in View", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), []byte("v")))
		c.View([]byte("k"), func(value []byte) { value[0] = 'x' })
	}, plainly(notCaught)},

	{"SetTTL of a time that is over", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), nil))
		w.must(c.SetTTL([]byte("k"), nil, -1))
		w.holds(c.Len() == 0, "the key is deleted")
	}, plainly(fine)},
	{"a Cursor of another cache", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), nil))
		for _, at := range []cache.Cursor{1, 1 << 53, 1 << 60, 1<<64 - 1} {
			for range c.Scan(&at, 10) {
			}
		}
	}, plainly(fine)},
	{"Close in View", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), []byte("v")))
		c.View([]byte("k"), func(value []byte) { w.must(c.Close()); w.holds(value[0] == 'v', "the value stays") })
	}, plainly(fine)},
	{"a panic in Update", func(w *world) {
		c := w.cache(0)
		w.must(c.Set([]byte("k"), []byte("v")))
		w.holds(ending(func() {
			_ = c.Update([]byte("k"), func([]byte, bool) ([]byte, bool) { panic("mine") })
		}) == "panic: mine", "the panic comes through")
		v, ok := c.Get(nil, []byte("k"))
		w.holds(ok && string(v) == "v", "nothing has changed")
	}, plainly(fine)},
	{"changes during All", func(w *world) {
		c := w.cache(0)
		for i := range 1000 {
			w.must(c.Set(fmt.Append(nil, i), nil))
		}
		for key := range c.All() {
			c.Delete(key)
			c.Reset()
			w.must(c.Set([]byte("new"), nil))
		}
	}, plainly(fine)},
})

// onUnopened calls everything on a Cache that Open did not make.
func onUnopened(what string, c *cache.Cache) (cases []misuse) {
	for _, m := range cacheCalls {
		cases = append(cases, misuse{m.name + " of a " + what + " Cache", func(w *world) { w.must(m.call(c)) },
			plainly("violation: cache." + m.name + ": use of a zero value: cache.Open makes a Cache")})
	}
	return cases
}

// onClosed calls everything on a closed cache: an error says so, or the call misses, as the docs promise.
func onClosed() (cases []misuse) {
	for _, m := range cacheCalls {
		want := plainly(fine)
		if !m.miss {
			want = plainly(`error: cache: ` + closedVerb[m.name] + ` "cache": closed`)
		}
		cases = append(cases, misuse{m.name + " after Close", func(w *world) {
			c := w.cache(0)
			w.must(c.Set([]byte("k"), nil))
			w.must(c.Close())
			w.must(m.call(c))
		}, want})
	}
	return cases
}

// closedVerb says how the errors of calls after Close name the call.
var closedVerb = map[string]string{
	"Set": "set", "SetTTL": "set", "Update": "update", "Add": "add", "Purge": "purge", "WriteTo": "write", "ReadFrom": "read", "Close": "close",
}

// cache opens a cache. After the case it must still work.
func (w *world) cache(limit int) *cache.Cache {
	c, err := cache.Open(cache.Config{Limit: limit})
	w.must(err)
	w.then(func() error {
		if c.Stats().Committed == 0 { // it is closed
			return nil
		}
		w.must(c.Set([]byte("works"), []byte("yes")))
		v, ok := c.Get(nil, []byte("works"))
		w.holds(ok && string(v) == "yes", "the cache works")
		return c.Close()
	})
	return c
}
