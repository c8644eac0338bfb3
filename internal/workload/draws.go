package workload

// What the allocator benchmarks draw, as the drivers for C allocators do, to the bit: so that check
// values prove that the work is the same.

// splitmix is the generator splitmix64.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += splitmixStep
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

const splitmixStep = 0x9E3779B97F4A7C15

// below scales the high half of r to [0, n), which has 32 bits.
func below(r uint64, n int) uint32 { return uint32(r >> 32 * uint64(n) >> 32) }

// objectSizes are the sizes that are drawn, in bytes, with their weights: 170.66 bytes in the mean.
var objectSizes = [24]struct{ size, weight int }{
	{16, 85}, {20, 31}, {24, 45}, {32, 61}, {40, 57}, {48, 52}, {56, 47}, {64, 61}, {80, 72}, {96, 72}, {120, 50}, {128, 48},
	{160, 69}, {200, 64}, {256, 54}, {320, 42}, {400, 35}, {512, 30}, {700, 24}, {1024, 13}, {1400, 7}, {2048, 3}, {3000, 1}, {4096, 1},
}

// drawnKind is which of the sizes the low bits of a draw stand for.
var drawnKind = func() (table [1024]uint8) {
	n := 0
	for kind, o := range objectSizes {
		for range o.weight {
			table[n] = uint8(kind)
			n++
		}
	}
	return table
}()

// sizeOf has the sizes alone, with room for every uint8.
var sizeOf = func() (table [256]int) {
	for kind, o := range objectSizes {
		table[kind] = o.size
	}
	return table
}()

func drawKind(r uint64) uint8 { return drawnKind[r%1024] }

// Draw is a step of the generator for the benchmarks of other modules: one of n places, and the
// size of the object that goes there.
func Draw(state *uint64, n int) (place uint32, size int) {
	r := (*splitmix)(state).next()
	return below(r, n), sizeOf[drawKind(r)]
}

// shuffled is a permutation of [0, n) (Fisher-Yates).
func shuffled(n int, seed splitmix) []uint32 {
	perm := make([]uint32, n)
	for i := range perm {
		perm[i] = uint32(i)
	}
	for i := uint32(n - 1); i > 0; i-- {
		j := below(seed.next(), int(i+1))
		perm[i], perm[j] = perm[j], perm[i]
	}
	return perm
}
