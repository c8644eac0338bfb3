package cache

// ghosts remembers which keys were evicted from the small queue lately: 16 bits of the hash of each, in sets of four, in the
// order in which they came. A key that was not evicted has a ghost by chance in one case of 10,000.
type ghosts struct {
	sets []uint64 // a power of two of them; none as long as nothing was evicted
}

// set returns the set of a hash, and what stands for the hash there, which is not 0.
func (g *ghosts) set(hash uint64) (set *uint64, mark uint64) {
	return &g.sets[hash>>20&uint64(len(g.sets)-1)], hash>>48 | 1
}

// add remembers a hash, and forgets the oldest one of its set.
func (g *ghosts) add(hash uint64) {
	if len(g.sets) > 0 {
		set, mark := g.set(hash)
		*set = *set<<16 | mark
	}
}

// take tells whether a hash is remembered, and forgets it.
func (g *ghosts) take(hash uint64) bool {
	if len(g.sets) == 0 {
		return false
	}
	set, mark := g.set(hash)
	for i := 0; i < 64; i += 16 {
		if *set>>i&0xffff == mark {
			*set &^= 0xffff << i
			return true
		}
	}
	return false
}

// fit makes room for as many ghosts as there are entries. It forgets all when it grows.
func (g *ghosts) fit(entries int) {
	n := 64
	for n*4 < entries {
		n *= 2
	}
	if n > len(g.sets) {
		g.sets = make([]uint64, n)
	}
}
