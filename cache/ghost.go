package cache

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
type ghosts struct {
	sets []ghostSet // a power of two of them; none as long as nothing was evicted
}

type ghostSet [ghostCells + 1]uint16

const (
	ghostCells = 15

	frequencyMask = 15
	handMask      = 15
)

// set returns the set of a hash, aged, and what stands for the hash there: bits that neither shards nor the index choose by.
func (g *ghosts) set(hash uint64, epoch uint16) (set *ghostSet, mark uint16) {
	set = &g.sets[hash>>16&uint64(len(g.sets)-1)]
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
	if len(g.sets) == 0 {
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
	if len(g.sets) == 0 || frequency == 0 {
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

// fit makes room for the ghosts of a shard of some entries. A table that grows keeps its ghosts: each set is copied to both sets
// that its keys may be in.
func (g *ghosts) fit(entries int) {
	n := max(len(g.sets), 4)
	for n*ghostCells*2 < entries*3 { // 1.5 to 3 for an entry, some 5 bytes
		n *= 2
	}
	if n == len(g.sets) {
		return
	}
	sets := make([]ghostSet, n)
	for i := range sets {
		if len(g.sets) > 0 {
			sets[i] = g.sets[i&(len(g.sets)-1)]
		}
	}
	g.sets = sets
}
