package slab

import (
	"slices"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// largeCache keeps the regions of freed large objects, so that the next objects of about their sizes need no
// system calls and no page faults. The regions stay committed, and hold old contents. It is part of
// largeObjects, whose lock guards it. A hardened heap keeps nothing here.
//
//	 Free               an object that it fits
//	──────▶  cached  ────────▶  live
//	           │
//	           └────────▶  closed   after half a second, if there are too many, by Purge, when memory is short
type largeCache struct {
	regions  []cachedRegion // the coldest first
	bytes    int            // committed
	reserved int64          // addresses
}

// cachedRegion is a region without an object.
type cachedRegion struct {
	*region.Region
	bytes int    // committed
	freed uint32 // ticks
}

const (
	// maxCachedRegions bounds the cache, because it is searched from end to end: in 300 ns.
	maxCachedRegions = 256

	// minCachedBytes are kept whatever is live: four objects of the size up to which caching matters. Beyond that
	// the cache keeps as many bytes as are live.
	minCachedBytes = 256 << 20 >> (shrink32 * 3)
)

// take takes the region out that an object of want bytes, whole OS pages, leaves the least of unused. At most an
// eighth of the object is left unused, as in a slot. Of equal regions it takes the warmest.
func (c *largeCache) take(want, align int) (r *region.Region, ok bool) {
	best := -1
	for i := len(c.regions) - 1; i >= 0; i-- {
		has := c.regions[i].bytes
		if has < want || has-want > want/8 || best >= 0 && has >= c.regions[best].bytes || uintptr(c.regions[i].Base())%uintptr(align) != 0 {
			continue
		}
		if best = i; has == want {
			break
		}
	}
	if best < 0 {
		return nil, false
	}
	r = c.regions[best].Region
	c.bytes -= c.regions[best].bytes
	c.reserved -= r.Reserved()
	c.regions = slices.Delete(c.regions, best, best+1)
	return r, true
}

// put adds a region, and returns those that have no room any more beside live bytes of objects. They are the
// coldest, or the region itself if it is too long.
func (c *largeCache) put(r cachedRegion, live int) (out []cachedRegion) {
	most := max(minCachedBytes, live)
	if r.bytes > most {
		return []cachedRegion{r}
	}
	c.regions = append(c.regions, r)
	c.bytes += r.bytes
	c.reserved += r.Reserved()
	return c.coldest(max(c.bytes-most, 0), len(c.regions)-maxCachedRegions)
}

// coldest takes out the coldest regions: as many as have some bytes, and a number of them at least.
func (c *largeCache) coldest(bytes, number int) (out []cachedRegion) {
	n, sum := 0, 0
	for n < len(c.regions) && (sum < bytes || n < number) {
		sum += c.regions[n].bytes
		n++
	}
	return c.cut(n)
}

// due takes out the regions that have been here for decayAfter ticks.
func (c *largeCache) due(now uint32) []cachedRegion {
	n := 0
	for n < len(c.regions) && now-c.regions[n].freed >= decayAfter {
		n++
	}
	return c.cut(n)
}

// cut takes out the n coldest regions.
func (c *largeCache) cut(n int) (out []cachedRegion) {
	if n == 0 {
		return nil
	}
	out = slices.Clone(c.regions[:n])
	c.regions = slices.Delete(c.regions, 0, n)
	for _, r := range out {
		c.bytes -= r.bytes
		c.reserved -= r.Reserved()
	}
	return out
}

// all takes all regions out.
func (c *largeCache) all() []cachedRegion { return c.cut(len(c.regions)) }

// holds tells whether a region that starts at an address is here.
func (c *largeCache) holds(base uintptr) bool {
	return slices.ContainsFunc(c.regions, func(r cachedRegion) bool { return uintptr(r.Base()) == base })
}
