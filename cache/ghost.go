package cache

import "unsafe"

// ghosts remembers how often keys were used that were evicted: 12 bits of the hash of each, and a frequency. They are in sets
// of 32 bytes:
//
//	15                4 3         0
//	┌──────────────────┬───────────┐
//	│ part of the hash │ frequency │  cell 0 to 14; empty if the frequency is 0
//	├──────────────────┼───────────┤
//	│ epoch            │ hand      │  cell 15
//	└──────────────────┴───────────┘
//
// A set ages when it is looked at, so the epoch may pass without a walk. A key that was never evicted has a ghost by chance in
// one case of 270.
//
// Sets lie in chunks of the cache's heap. Chunks come one at a time (linear hashing): a new one begins as a copy of the chunk that has had
// its keys. There are two ghosts for each entry, some 4 bytes.
type ghosts struct {
	base   unsafe.Pointer
	chunks []uint32 // where each lies: granules from base on; none as long as nothing was evicted
	mask   uint32   // 2^n - 1 for the largest 2^n that is at most the number of chunks
	enough int      // entries of the shard for which there are ghosts
}

type ghostSet [ghostCells + 1]uint16

const (
	ghostCells     = 15
	setsPerChunk   = chunkSize / 32
	ghostsPerEntry = 2

	frequencyMask = 15
	handMask      = 15
)

var _ [chunkSize]byte = [setsPerChunk * unsafe.Sizeof(ghostSet{})]byte{}

// chunk returns the sets of a chunk.
func (g *ghosts) chunk(n uint32) *[setsPerChunk]ghostSet {
	return (*[setsPerChunk]ghostSet)(unsafe.Add(g.base, uintptr(g.chunks[n])*granule))
}

// lacks tells whether a shard of some entries needs another chunk.
func (g *ghosts) lacks(entries int) bool { return entries > g.enough }

// dropChunk takes the youngest chunk back if the ghosts are many more than a shard of some entries needs. Its ghosts are lost.
func (g *ghosts) dropChunk(entries int) (at uint32, ok bool) {
	n := len(g.chunks) - 1
	if n < 1 || n*setsPerChunk*ghostCells < entries*2*ghostsPerEntry {
		return 0, false
	}
	at, g.chunks = g.chunks[n], g.chunks[:n]
	g.enough = n * setsPerChunk * ghostCells / ghostsPerEntry
	if uint32(n) <= g.mask {
		g.mask /= 2
	}
	return at, true
}

// addChunk gives the ghosts another chunk, which lies some granules behind base.
func (g *ghosts) addChunk(base unsafe.Pointer, at uint32) {
	n := uint32(len(g.chunks))
	g.base, g.chunks = base, append(g.chunks, at)
	g.enough = len(g.chunks) * setsPerChunk * ghostCells / ghostsPerEntry
	if n == 0 {
		*g.chunk(0) = [setsPerChunk]ghostSet{}
		return
	}
	if n > g.mask*2+1 {
		g.mask = g.mask*2 + 1
	}
	*g.chunk(n) = *g.chunk(n &^ (g.mask + 1))
}

// set returns the set of a hash, aged, and what stands for the hash there: bits that neither shards nor the index choose by.
func (g *ghosts) set(hash uint64, epoch uint16) (set *ghostSet, mark uint16) {
	n := uint32(hash>>25) & (g.mask*2 + 1)
	if n >= uint32(len(g.chunks)) {
		n &= g.mask
	}
	set = &g.chunk(n)[hash>>16%setsPerChunk]
	if passed := (epoch - set[ghostCells]>>4) & (1<<12 - 1); passed > 0 {
		for i, c := range set[:ghostCells] {
			if f := c & frequencyMask >> min(passed, 4); f > 0 {
				set[i] = c&^frequencyMask | f
			} else {
				set[i] = 0
			}
		}
		set[ghostCells] = set[ghostCells]&handMask | epoch<<4
	}
	return set, uint16(hash>>48) &^ frequencyMask
}

// frequency returns the frequency of a key that was evicted; 0 if it is not remembered.
func (g *ghosts) frequency(hash uint64, epoch uint16) int {
	if len(g.chunks) == 0 {
		return 0
	}
	set, mark := g.set(hash, epoch)
	for _, c := range set[:ghostCells] {
		if c&^frequencyMask == mark && c&frequencyMask > 0 {
			return int(c & frequencyMask)
		}
	}
	return 0
}

// add remembers a key that is evicted. It takes the place of the least frequent ghost in its set, of the oldest of these.
func (g *ghosts) add(hash uint64, epoch uint16, frequency int) {
	if len(g.chunks) == 0 || frequency == 0 {
		return
	}
	set, mark := g.set(hash, epoch)
	hand := int(set[ghostCells] & handMask)
	at, least := 0, uint16(frequencyMask+1)
	for range ghostCells {
		if hand++; hand >= ghostCells {
			hand = 0
		}
		c := set[hand]
		f := c & frequencyMask
		if c&^frequencyMask == mark && f > 0 {
			set[hand] = mark | max(f, uint16(frequency))
			return
		}
		if f < least {
			at, least = hand, f
		}
	}
	set[at] = mark | uint16(frequency)
	set[ghostCells] = set[ghostCells]&^handMask | uint16(at)
}
