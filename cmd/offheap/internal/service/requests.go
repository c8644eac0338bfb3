package service

import (
	"encoding/binary"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Sizes in bytes. Keys have all lengths equally often.
const (
	minKey, maxKey     = 16, 40
	minValue, maxValue = 20, 400
)

// buckets are the value sizes of Meta's cache workload kvcache_reg as CacheLib publishes them
// (facebook/CacheLib, cachelib/cachebench/test_configs/hit_ratio/kvcache_reg/sizes.json, Apache-2.0): how many
// of its values have at most so many bytes, and more than the bucket before. The buckets from 20 to 400 bytes
// hold 95.6 % of the values. Inside a bucket all sizes are drawn equally often.
var buckets = []struct{ most, weight int }{
	{31, 11851}, {63, 1010}, {95, 2243135}, {127, 4088142}, {159, 8366545}, {191, 724067}, {223, 272432},
	{255, 142789}, {287, 138503}, {319, 120192}, {351, 87170}, {383, 75832}, {maxValue, 40579 * 17 / 32},
}

// bucketOf maps twelve random bits to a bucket. The last entries, which rounding leaves, are of the most
// frequent size.
var bucketOf = func() (table [4096]struct{ least, sizes uint16 }) {
	total := 0
	for _, b := range buckets {
		total += b.weight
	}
	sum, n, least := 0, 0, minValue
	for _, b := range buckets {
		for sum += b.weight; n < sum*len(table)/total; n++ {
			table[n] = struct{ least, sizes uint16 }{uint16(least), uint16(b.most - least + 1)}
		}
		least = b.most + 1
	}
	return table
}()

// valueSize draws the size of a value.
func valueSize(random uint64) int {
	b := bucketOf[random%uint64(len(bucketOf))]
	return int(b.least) + int(workload.Below(random, int(b.sizes)))
}

// meanPayload is the mean of the bytes in the key and the value of an entry.
var meanPayload = func() float64 {
	sum := 0.0
	for _, b := range bucketOf {
		sum += float64(b.least) + float64(b.sizes-1)/2
	}
	return sum/float64(len(bucketOf)) + (minKey+maxKey)/2.0
}()

// Payload returns how many bytes the keys and the values of so many entries have, in the mean of all draws.
func Payload(entries int) int64 { return int64(float64(entries) * meanPayload) }

// mix returns a random number for a number; different ones for different numbers.
func mix(number uint64) uint64 {
	r := workload.Random(number)
	return r.Next()
}

// keyTail follows the digits that tell keys apart.
const keyTail = "/account/settings/profile"

// appendKey appends the key of an entry.
func appendKey(dst []byte, entry int) []byte {
	const digits = "0123456789abcdef"
	random := mix(uint64(entry))
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[random>>shift&15])
	}
	return append(dst, keyTail[:workload.Below(mix(random), maxKey-minKey+1)]...)
}

// appendValue appends a value. The seed determines its size and its text, which JSON need not escape.
func appendValue(dst []byte, seed uint64) []byte {
	size := valueSize(seed)
	text := workload.Random(seed)
	n := len(dst) + size
	for len(dst) < n {
		// The letters a to p: a byte for each four bits of a half of the random bits.
		dst = binary.LittleEndian.AppendUint64(dst, text.Next()&0x0F0F0F0F0F0F0F0F+0x6161616161616161)
	}
	return dst[:n]
}

// firstSeed is the seed of the value that an entry has after loading.
func firstSeed(entry int) uint64 { return mix(mix(uint64(entry)) + 1) }

// stream is the sequence of requests of one worker. Worker w of n reads and replaces the entries w, w+n, w+2n and so
// on, and no others. So each answer depends on the worker's own requests alone, whatever the others do.
type stream struct {
	random          workload.Random
	worker, workers int
	own             int // how many entries the worker has
}

// Phases of the measurement, which have streams of their own.
const (
	phaseClosed = 1 + iota
	phaseOpen
	phasePlenty
)

func newStream(phase, worker, workers, entries int) stream {
	seed := mix(uint64(phase)<<32 + uint64(worker))
	return stream{workload.Random(seed), worker, workers, (entries - worker + workers - 1) / workers}
}

// next returns the next request: an entry, and the seed of its new value if replace is true.
func (s *stream) next() (entry int, replace bool, seed uint64) {
	random := s.random.Next()
	entry = int(workload.Below(random, s.own))*s.workers + s.worker
	return entry, random&0xFFFF < 0xFFFF/replaceOneIn, random
}

// replaceOneIn says that one request in so many replaces a value; the others read one.
const replaceOneIn = 10
