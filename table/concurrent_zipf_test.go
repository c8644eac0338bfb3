package table

import (
	"math"
	"math/rand/v2"
)

// zipf draws ranks from 0 to n-1 with a probability proportional to 1/(rank+1)^theta, by the method of Gray et al., "Quickly
// generating billion-record synthetic databases" (SIGMOD 1994), which takes any theta below 1.
type zipf struct {
	n                       float64
	alpha, zetan, eta, half float64
}

func newZipf(n int, theta float64) *zipf {
	zeta := func(n int) (sum float64) {
		for i := range n {
			sum += math.Pow(float64(i+1), -theta)
		}
		return sum
	}
	zetan := zeta(n)
	return &zipf{
		n: float64(n), alpha: 1 / (1 - theta), zetan: zetan, half: 1 + math.Pow(0.5, theta),
		eta: (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta(2)/zetan),
	}
}

func (z *zipf) draw() int {
	u := rand.Float64()
	switch uz := u * z.zetan; {
	case uz < 1:
		return 0
	case uz < z.half:
		return 1
	}
	return min(int(z.n*math.Pow(z.eta*u-z.eta+1, z.alpha)), int(z.n)-1)
}
