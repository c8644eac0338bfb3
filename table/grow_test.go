package table

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestMapMemory holds a Map to 1.3 times the bytes of its entries at every size from 100,000 to 2,000,000,
// and smaller ones to the figures in the comment of Map.
func TestMapMemory(t *testing.T) {
	a := openTest(t, arena.Config{})
	start := top(a)
	m := NewMap[uint64, uint64](a, 0)
	if live := a.Stats().Live; live > 600 {
		t.Errorf("an empty map takes %d bytes", live)
	}
	worst := map[int]float64{}
	at := map[int]int{}
	most := 2_000_000
	if testing.Short() {
		most = 200_000
	}
	for n := 1; n <= most; n++ {
		m.Put(uint64(n)*0x9e3779b97f4a7c15, 1)
		if n%97 != 0 {
			continue
		}
		class := 0
		for _, least := range []int{10_000, 20_000, 50_000, 100_000, 500_000} {
			if n >= least {
				class = least
			}
		}
		if ratio := float64(top(a)-start) / float64(16*n); ratio > worst[class] {
			worst[class], at[class] = ratio, n
		}
	}
	for least, most := range map[int]float64{10_000: 1.7, 20_000: 1.5, 50_000: 1.4, 100_000: 1.3, 500_000: 1.3} {
		t.Logf("from %7d entries on: at most %.3f times the payload, at %d", least, worst[least], at[least])
		if worst[least] > most {
			t.Errorf("%d entries take %.3f times their bytes, which is above %.1f", at[least], worst[least], most)
		}
	}
	for _, n := range []int{100_000, 333_333, 1_000_000} {
		a := openTest(t, arena.Config{})
		start := top(a)
		m := NewMap[uint64, uint64](a, n)
		made := top(a)
		for k := range n {
			m.Put(uint64(k), 1)
		}
		if ratio := float64(top(a)-start) / float64(16*n); ratio > 1.3 || top(a) > made+64<<10 {
			t.Errorf("a map for %d entries takes %.3f times their bytes, and %d bytes more to fill it", n, ratio, top(a)-made)
		}
	}
}

// TestMapGrowsByOneGroup checks that no insertion moves more than one group.
func TestMapGrowsByOneGroup(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	moves, homes := uint64(0), m.root.current().homes
	for n := range uint64(500_000) {
		before := m.root.moved
		m.Put(n, n)
		if after := m.root.moved; m.root.current().homes == homes {
			if after > before+1 {
				t.Fatalf("inserting %d moved %d groups", n, after-before)
			}
			moves += after - before
		} else {
			// The last group of a layout. The move before has shown that the layout is empty behind it.
			if after != 0 || before+1 < homes {
				t.Fatalf("inserting %d moved %d groups of %d, and %d of the next layout", n, homes-before, homes, after)
			}
			moves++
			homes = m.root.current().homes
		}
	}
	if moves > 500_000 {
		t.Errorf("%d moves", moves)
	}
}

// displacement returns how many groups lie between entries and their homes: the sum over all entries, and the
// most of one entry.
func displacement(m *Map[uint64, uint64]) (all, most uint64) {
	h := m.root
	for i := range h.layouts {
		s := &h.layouts[i]
		from := s.first
		if s == h.current() {
			from += h.moved
		}
		for address := from; address < s.segments*segmentGroups; address++ {
			header, slots := groupAt(m.base(), s.dir, address, m.slotSize)
			for used := usedSlots(words(header)); used != 0; used &= used - 1 {
				e := slotAt[uint64, uint64](slots, used.first())
				its, home := h.homeOf(m.hash(unsafe.Pointer(e), 8))
				if its != s {
					its, home = s, from
				}
				all += address - home
				most = max(most, address-home)
			}
		}
	}
	return all, most
}

// TestMapChurn deletes and inserts at constant size. Neither memory nor the distance of entries from their
// homes may grow.
func TestMapChurn(t *testing.T) {
	const n = 50_000
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, n)
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rand.Uint64()
		m.Put(keys[i], 0)
	}
	live := a.Stats().Live
	fresh, _ := displacement(m)
	for range 20 * n {
		i := rand.IntN(n)
		m.Delete(keys[i])
		keys[i] = rand.Uint64()
		m.Put(keys[i], 0)
	}
	m.check()
	if now := a.Stats().Live; now > live+64<<10 {
		t.Errorf("%d bytes after churn, %d before", now, live)
	}
	churned, most := displacement(m)
	t.Logf("entries lie %d groups from their homes, all together; %d before churn; one %d", churned, fresh, most)
	if churned > 2*fresh+n/20 || most > 200 {
		t.Errorf("entries lie %d groups from their homes, one %d; %d before churn", churned, most, fresh)
	}
	for _, k := range keys {
		m.Delete(k)
	}
	for i := range m.root.layouts {
		s := &m.root.layouts[i]
		for address := s.first; s.homes > 0 && address < s.segments*segmentGroups; address++ {
			if overflow(m.header(s, address)) != 0 && (s != m.root.current() || address >= s.first+m.root.moved) {
				t.Fatalf("group %d of an empty map was passed", address)
			}
		}
	}
}

// TestMapManyOfOneHash inserts more entries with close homes than an overflow count can count.
func TestMapManyOfOneHash(t *testing.T) {
	a := openTest(t, arena.Config{})
	m := NewMap[uint64, uint64](a, 0)
	// The seed is random, so such keys are found by trying. All hashes are in one sixteenth of the range.
	var keys []uint64
	for k := uint64(0); len(keys) < 5000; k++ {
		if m.hash(unsafe.Pointer(&k), 8)>>60 == 5 {
			keys = append(keys, k)
			m.Put(k, k)
			if len(keys)%500 == 0 {
				m.check()
			}
		}
	}
	for _, k := range keys {
		if v, ok := m.Get(k); v != k || !ok {
			t.Fatalf("%d is lost", k)
		}
	}
	seen := 0
	for range m.All() {
		seen++
	}
	if seen != len(keys) {
		t.Errorf("All has %d entries, want %d", seen, len(keys))
	}
	for i, k := range keys {
		if !m.Delete(k) {
			t.Fatalf("%d cannot be deleted", k)
		}
		if i%1000 == 0 {
			m.check()
		}
	}
	for k := range uint64(20_000) {
		m.Put(k, k)
	}
	m.check()
}
