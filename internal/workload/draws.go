package workload

// Random is the generator splitmix64. Its value is the state: any number is a seed.
type Random uint64

// RandomStep is how much each Next adds to the state.
const RandomStep = 0x9E3779B97F4A7C15

// Next returns the next number, all 64 bits of it random.
func (r *Random) Next() uint64 {
	*r += RandomStep
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Draw takes one number and returns a place below n, which has 32 bits, and the size in bytes of the
// object that goes there.
func (r *Random) Draw(n int) (place uint32, size int) {
	x := r.Next()
	return Below(x, n), Size(SizeIndex(x))
}

// Below scales the high half of a random number to [0, n). n has 32 bits.
func Below(random uint64, n int) uint32 { return uint32(random >> 32 * uint64(n) >> 32) }

// sizes are the object sizes that are drawn, in bytes, with their weights: 170.66 bytes in the mean.
var sizes = [24]struct{ size, weight int }{
	{16, 85}, {20, 31}, {24, 45}, {32, 61}, {40, 57}, {48, 52}, {56, 47}, {64, 61}, {80, 72}, {96, 72}, {120, 50}, {128, 48},
	{160, 69}, {200, 64}, {256, 54}, {320, 42}, {400, 35}, {512, 30}, {700, 24}, {1024, 13}, {1400, 7}, {2048, 3}, {3000, 1}, {4096, 1},
}

// indexOf maps the low ten bits of a random number to an index in sizes.
var indexOf = func() (table [1024]uint8) {
	n := 0
	for index, s := range sizes {
		for range s.weight {
			table[n] = uint8(index)
			n++
		}
	}
	return table
}()

// sizeOf has the sizes alone, with room for every uint8: a lookup needs no bounds check.
var sizeOf = func() (table [256]int) {
	for index, s := range sizes {
		table[index] = s.size
	}
	return table
}()

// SizeIndex draws one of the 24 object sizes by the low bits of a random number. An index takes a
// byte where a benchmark must remember the size of each object.
func SizeIndex(random uint64) uint8 { return indexOf[random%1024] }

// Size returns the object size, in bytes, of an index that SizeIndex returned.
func Size(index uint8) int { return sizeOf[index] }
