package workload

import (
	"math"
	"math/rand/v2"
)

// Zipf draws numbers from 0 to n-1, i with a probability proportional to 1/(i+1)^theta, by the method of Gray et al., "Quickly
// generating billion-record synthetic databases" (SIGMOD 1994), which takes any theta below 1.
type Zipf struct {
	n, alpha, zeta, eta, half float64
}

// NewZipf returns a generator. It adds n powers up, which takes some 50 ns each.
func NewZipf(n int, theta float64) Zipf {
	zeta := func(n int) (sum float64) {
		for i := range n {
			sum += math.Pow(float64(i+1), -theta)
		}
		return sum
	}
	z := Zipf{n: float64(n), alpha: 1 / (1 - theta), zeta: zeta(n), half: 1 + math.Pow(0.5, theta)}
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta(2)/z.zeta)
	return z
}

// Draw draws a number.
func (z *Zipf) Draw(random *rand.Rand) int {
	u := random.Float64()
	switch uz := u * z.zeta; {
	case uz < 1:
		return 0
	case uz < z.half:
		return 1
	}
	return min(int(z.n*math.Pow(z.eta*u-z.eta+1, z.alpha)), int(z.n)-1)
}
