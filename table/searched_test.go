package table

import (
	"unsafe"
)

// This file looks into tables for the tests of turnover, which bound work and not time.

// groupsSearched returns how many groups a search for an entry looks at. is recognises the entry; a search for
// a key that is not there has an is that returns false.
func groupsSearched[K comparable, V any](t *typed[K, V], hash uint64, is func(k *K) bool) (n int) {
	r := t.root
	l := r.leafOf(hash)
	home := homeOf(hash, l.groups)
	for i := home; ; {
		n++
		g := r.group(l, i, t.slotSize)
		even, odd := g.words()
		pattern := tagOf(hash) * lowBits
		if i != home {
			pattern |= displacedTags
		}
		for m := matching(even, odd, pattern); m != 0; m &= m - 1 {
			if is(&slotAt[K, V](g, m.first()).key) {
				return n
			}
		}
		if !passes(odd, hash) {
			return n
		}
		if i = l.after(i); i == home {
			return n
		}
	}
}

// mapSearched is groupsSearched for a key of a Map.
func mapSearched(m *Map[uint64, uint64], k uint64) int {
	return groupsSearched(&m.typed, m.hash(unsafe.Pointer(&k), unsafe.Sizeof(k)), func(its *uint64) bool { return *its == k })
}

// stringsSearched is groupsSearched for a key of a Strings.
func stringsSearched(m *Strings[uint64], key string) int {
	half := uint32(m.root.seed.bytes(unsafe.Pointer(unsafe.StringData(key)), uintptr(len(key))) >> 32)
	return groupsSearched(&m.typed, wholeHash(half), func(its *stringKey) bool { return m.string(its) == key })
}

// passedByAll returns how many groups and leaves without an entry All passes before it meets the first entry: the
// mean over all groups where it can begin.
func passedByAll[K comparable, V any](t *typed[K, V]) (mean float64) {
	r := t.root
	if r.count == 0 {
		return 0
	}
	// All draws slots, and if few are used goes through the leaves and groups from a random one on.
	total, places, run := 0.0, 0.0, 0.0
	firstRun := -1.0
	pass := func(empty bool) {
		places++
		if empty {
			run++
			return
		}
		if firstRun < 0 {
			firstRun = run
		} else {
			total += run * (run + 1) / 2
		}
		run = 0
	}
	for number := range r.leaves {
		l := r.leafAt(number)
		if l.groups == 0 {
			pass(true)
		}
		for i := range l.groups {
			pass(r.group(l, i, t.slotSize).used() == 0)
		}
	}
	run += firstRun
	total += run * (run + 1) / 2
	return total / places
}

func (m numberedMap) scan(c *Cursor, n int, visit func(i uint64)) {
	m.typed.scan(c, n, func(e *slot[uint64, uint64]) bool { visit(e.value); return true })
}

func (m *numberedStrings) scan(c *Cursor, n int, visit func(i uint64)) {
	m.typed.scan(c, n, func(e *slot[stringKey, uint64]) bool { visit(e.value); return true })
}

func (m numberedMap) sample(n int, visit func(i uint64)) {
	m.typed.sample(n, func(e *slot[uint64, uint64]) bool { visit(e.value); return true })
}

func (m *numberedStrings) sample(n int, visit func(i uint64)) {
	m.typed.sample(n, func(e *slot[stringKey, uint64]) bool { visit(e.value); return true })
}
