package service

import (
	"math"
	"math/bits"
)

// histogram counts durations in nanoseconds. Its buckets are exact up to 128 ns, and at most 1.6 % wide from
// there on: each power of two has 64 of them. It is for one goroutine.
type histogram struct {
	counts [(64 - subBits) << subBits]uint64
	n      uint64
	max    int64 // exact
}

// subBits says that a power of two has 1<<subBits buckets.
const subBits = 6

// bucket returns the bucket of a duration.
func bucket(ns int64) int {
	if ns < 2<<subBits {
		return int(max(ns, 0))
	}
	shift := bits.Len64(uint64(ns)) - subBits - 1
	return shift<<subBits + int(ns>>shift)
}

// ceiling returns the longest duration that falls into a bucket.
func ceiling(bucket int) int64 {
	if bucket < 2<<subBits {
		return int64(bucket)
	}
	shift := bucket>>subBits - 1
	return int64(bucket-shift<<subBits+1)<<shift - 1
}

func (h *histogram) add(ns int64) {
	h.counts[bucket(ns)]++
	h.n++
	h.max = max(h.max, ns)
}

// merge adds the counts of another histogram.
func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// percentile returns a duration that the share p of all durations does not exceed, 1.6 % too long at most;
// 0 of an empty histogram.
func (h *histogram) percentile(p float64) int64 {
	rank, sum := uint64(math.Ceil(p*float64(h.n))), uint64(0)
	for i, n := range h.counts {
		if sum += n; n > 0 && sum >= rank {
			return min(ceiling(i), h.max)
		}
	}
	return h.max
}

// latencies returns the percentiles that are reported.
func (h *histogram) latencies() Latencies {
	return Latencies{h.percentile(.5), h.percentile(.99), h.percentile(.999), h.percentile(.9999), h.max}
}
