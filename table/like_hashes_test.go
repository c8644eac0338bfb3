package table

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
)

// TestOutsideLikeHashes inserts keys whose hashes have the same low leafBits: a program that chooses keys by HashOf may do so.
// All of them are in one leaf until the table has as many leaves.
func TestOutsideLikeHashes(t *testing.T) {
	m := NewMap[uint64, [1000]byte](openTest(t, arena.Config{}), 0)
	for k := uint64(0); m.Len() < 1100; k++ {
		if leafBits(m.HashOf(k))%4096 == 0 {
			m.Put(k, [1000]byte{byte(k)})
		}
	}
	m.check()
	for k, v := range m.All() {
		if v[0] != byte(k) {
			t.Fatalf("%d has the value %d", k, v[0])
		}
	}
}

// TestOutsideHintIsKept fills tables to their hints, empties and shrinks them, and fills them again, in a full arena.
func TestOutsideHintIsKept(t *testing.T) {
	for _, hint := range []int{1, 15, 16, 393, 404, 406, 871, 873, 1575, 1619, 3500, 6000, 7440, 20_000} {
		a := openTest(t, arena.Config{})
		m := NewMap[uint64, uint64](a, hint)
		fill(a)
		for round := range uint64(3) {
			for i := range uint64(hint) {
				if err := m.TryPut(round<<32|i, i); err != nil {
					t.Fatalf("hint %d, round %d, entry %d: %v", hint, round, i, err)
				}
			}
			m.check()
			for k := range m.Keys() {
				m.Delete(k)
			}
			m.Shrink()
			m.check()
		}
	}
}
