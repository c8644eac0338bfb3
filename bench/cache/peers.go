package main

import (
	"bytes"
	"context"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/allegro/bigcache/v3"
	"github.com/coocood/freecache"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
	"github.com/seed-9a6c551e/offheap/cache"
)

// peer is a cache of bytes. All peers are called through it, so each call costs two nanoseconds more than in a program. The
// cache has its own copy of what is set. get appends the value to dst if the cache copies values for its callers, and returns
// the cache's own slice if it does not.
type peer interface {
	set(key, value []byte)
	get(dst, key []byte) (value []byte, ok bool)
	close()
}

// limits has the limit of a cache that counts entries, and of one that counts bytes.
type limits struct{ Entries, Bytes int }

// peers has all caches in the order of the table's columns.
var peers = []struct {
	name string
	open func(l limits) peer
}{
	{"offheap", openOurs},
	{"fastcache", openFast},
	{"freecache", openFree},
	{"bigcache", openBig},
	{"otter", openOtter},
	{"ristretto", openRistretto},
}

func openPeer(name string, l limits) peer {
	for _, p := range peers {
		if p.name == name {
			return p.open(l)
		}
	}
	panic("no peer " + name)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type ours struct{ *cache.Cache }

func openOurs(l limits) peer {
	c, err := cache.Open(cache.Config{Limit: l.Bytes})
	must(err)
	return ours{c}
}

func (c ours) set(key, value []byte)              { must(c.Set(key, value)) }
func (c ours) get(dst, key []byte) ([]byte, bool) { return c.Get(dst, key) }
func (c ours) close()                             { must(c.Close()) }

type fast struct{ *fastcache.Cache }

func openFast(l limits) peer { return fast{fastcache.New(l.Bytes)} }

func (c fast) set(key, value []byte)              { c.Set(key, value) }
func (c fast) get(dst, key []byte) ([]byte, bool) { return c.HasGet(dst, key) }
func (c fast) close()                             { c.Reset() }

type free struct{ *freecache.Cache }

func openFree(l limits) peer { return free{freecache.NewCache(l.Bytes)} }

func (c free) set(key, value []byte) { must(c.Set(key, value, 0)) }
func (c free) get(dst, key []byte) ([]byte, bool) {
	// GetWithBuf takes the capacity of the buffer.
	v, err := c.GetWithBuf(key, dst[len(dst):cap(dst)])
	return v, err == nil
}
func (c free) close() {}

type big struct{ *bigcache.BigCache }

func openBig(l limits) peer {
	config := bigcache.DefaultConfig(24 * time.Hour)
	config.CleanWindow = 0
	config.Verbose = false
	config.MaxEntriesInWindow = l.Entries
	config.MaxEntrySize = 160
	config.HardMaxCacheSize = max(1, l.Bytes>>20)
	c, err := bigcache.New(context.Background(), config)
	must(err)
	return big{c}
}

// bigcache keeps no key.
func (c big) set(key, value []byte) { must(c.Set(unsafe.String(&key[0], len(key)), value)) }
func (c big) get(dst, key []byte) ([]byte, bool) {
	v, err := c.Get(unsafe.String(&key[0], len(key)))
	return v, err == nil
}
func (c big) close() { must(c.Close()) }

type otters struct {
	*otter.Cache[[keyBytes]byte, []byte]
}

func openOtter(l limits) peer {
	return otters{otter.Must(&otter.Options[[keyBytes]byte, []byte]{MaximumSize: l.Entries})}
}

func (c otters) set(key, value []byte)              { c.Set([keyBytes]byte(key), bytes.Clone(value)) }
func (c otters) get(dst, key []byte) ([]byte, bool) { return c.GetIfPresent([keyBytes]byte(key)) }
func (c otters) close()                             { c.StopAllGoroutines() }

type ristrettos struct {
	*ristretto.Cache[[]byte, []byte]
}

func openRistretto(l limits) peer {
	c, err := ristretto.NewCache(&ristretto.Config[[]byte, []byte]{
		NumCounters: int64(l.Entries) * 10, MaxCost: int64(l.Entries), BufferItems: 64, IgnoreInternalCost: true,
	})
	must(err)
	return ristrettos{c}
}

func (c ristrettos) set(key, value []byte)              { c.Set(key, bytes.Clone(value), 1) }
func (c ristrettos) get(dst, key []byte) ([]byte, bool) { return c.Get(key) }
func (c ristrettos) close()                             { c.Close() }

// settle waits until a cache has done what it has put off.
func settle(p peer) {
	switch p := p.(type) {
	case otters:
		p.CleanUp()
	case ristrettos:
		p.Wait()
	}
}
