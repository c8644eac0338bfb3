package filler

import (
	"crypto/rand"
	"testing"
)

// TestChanged writes to each of some bytes, alone and with another behind it.
func TestChanged(t *testing.T) {
	var p Pattern
	rand.Read(p[:])
	for _, n := range []int{0, 1, 7, 100, Size - 1, Size, Size + 1, 3*Size + 5} {
		b := make([]byte, n)
		p.Fill(b)
		for i, x := range b {
			if x != p[i%Size] {
				t.Fatalf("%d bytes: byte %d is not the pattern's", n, i)
			}
		}
		expect := func(first, last int) {
			t.Helper()
			if f, l := p.First(b), p.Last(b); f != first || l != last {
				t.Fatalf("%d bytes: the first is %d and the last %d, want %d and %d", n, f, l, first, last)
			}
		}
		expect(-1, -1)
		for i := 0; i < n; i += 1 + i/50 {
			b[i] ^= 0x40
			expect(i, i)
			b[n-1] ^= 0x01
			expect(i, n-1)
			b[n-1] ^= 0x01
			b[i] ^= 0x40
		}
	}
}
