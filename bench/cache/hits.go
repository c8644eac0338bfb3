package main

import (
	"fmt"
	"math"
	"os"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
	"github.com/seed-9a6c551e/offheap/cache"
)

// streams returns the streams on which hit ratios are measured.
func streams(o *options) (all []*stream) {
	keys, accesses := 100_000, 1_000_000
	if o.quick {
		accesses = 300_000
	}
	s, err := recorded(o.inputs)
	if err == nil {
		all = append(all, s)
	}
	for _, exponent := range []float64{0.7, 0.8, 0.9, 0.99, 1.1} {
		all = append(all, zipfWithScans(exponent, keys, accesses))
	}
	twitter, err2 := clusters(o.inputs, keys, accesses)
	if err == nil {
		err = err2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rows left out:", err)
	}
	return append(append(all, twitter...), drifting(0.9, keys, accesses))
}

// counting is a cache of which only the hits count.
type counting interface {
	get(k uint32) bool
	set(k uint32)
}

// hitRatio returns the share of gets that hit, in percent.
func hitRatio(s *stream, c counting) float64 {
	hits, gets := 0, 0
	for i, k := range s.keys {
		if s.sets != nil && s.sets[i] {
			c.set(k)
			continue
		}
		gets++
		if c.get(k) {
			hits++
		} else {
			c.set(k)
		}
	}
	return 100 * float64(hits) / float64(max(gets, 1))
}

// oursCounting has package cache with values of a size. length sums up the number of entries, once the cache is full.
type oursCounting struct {
	*cache.Cache
	value, dst  []byte
	every, step int
	lengths     []int
}

func (c *oursCounting) get(k uint32) (ok bool) {
	var key [keyBytes]byte
	putKey(&key, uint64(k))
	if c.step++; c.step%c.every == 0 {
		c.lengths = append(c.lengths, c.Len())
	}
	c.dst, ok = c.Get(c.dst[:0], key[:])
	return ok
}

func (c *oursCounting) set(k uint32) {
	var key [keyBytes]byte
	putKey(&key, uint64(k))
	must(c.Set(key[:], c.value))
}

// length returns the mean number of entries in the second half of the accesses.
func (c *oursCounting) length() float64 {
	sum, half := 0, c.lengths[len(c.lengths)/2:]
	for _, n := range half {
		sum += n
	}
	return float64(sum) / float64(max(len(half), 1))
}

// runOurs finds the Limit at which package cache holds so many entries in the mean, and returns the hit ratio at it, and how many entries there were.
//
// A Limit is in bytes, and a cache that is smaller than some MiB has few segments to choose from, so values have the size that the stream names, but at least
// such a size that all entries take 4 MiB.
func runOurs(s *stream, entries int) (ratio float64, held int) {
	size := max(s.valueSize, 4<<20/entries)
	limit := int(float64(entries*(size+keyBytes+32)) * 1.1)
	for range 4 {
		limit = max(limit, cache.MinLimit)
		c, err := cache.Open(cache.Config{Limit: limit})
		must(err)
		counter := &oursCounting{Cache: c, value: make([]byte, size), every: len(s.keys)/200 + 1}
		ratio = hitRatio(s, counter)
		must(c.Close())
		length := counter.length()
		held = int(math.Round(length))
		if math.Abs(length/float64(entries)-1) < 0.003 {
			break
		}
		limit = int(float64(limit) * float64(entries) / length)
	}
	return ratio, held
}

// Otter runs what it has put off after each access, on the calling goroutine.
type otterCounting struct {
	*otter.Cache[uint64, struct{}]
}

func newOtterCounting(entries int) counting {
	return otterCounting{otter.Must(&otter.Options[uint64, struct{}]{MaximumSize: entries, Executor: func(f func()) { f() }})}
}

func (c otterCounting) get(k uint32) bool {
	_, ok := c.GetIfPresent(scattered(k))
	c.CleanUp()
	return ok
}

func (c otterCounting) set(k uint32) {
	c.Set(scattered(k), struct{}{})
	c.CleanUp()
}

// Ristretto is waited for after each set.
type ristrettoCounting struct {
	*ristretto.Cache[uint64, struct{}]
}

func newRistrettoCounting(entries int) counting {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters: int64(entries) * 10, MaxCost: int64(entries), BufferItems: 64, IgnoreInternalCost: true,
	})
	must(err)
	return ristrettoCounting{c}
}

func (c ristrettoCounting) get(k uint32) bool {
	_, ok := c.Get(scattered(k))
	return ok
}

func (c ristrettoCounting) set(k uint32) {
	c.Set(scattered(k), struct{}{}, 1)
	c.Wait()
}

// scattered returns a key whose bits look random: ristretto takes numbers as their own hashes.
func scattered(k uint32) uint64 {
	x := (uint64(k) + 0x9e3779b97f4a7c15)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
