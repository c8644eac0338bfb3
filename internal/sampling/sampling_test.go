package sampling

import (
	"math"
	"testing"
)

// TestRate counts what is sampled of many allocations, and how far apart that is.
func TestRate(t *testing.T) {
	defer Set(Set(0))
	for _, n := range []int{1, 2, 10, 1000, 20000} {
		Set(n)
		Seed(uint64(n))
		const samples = 4000
		total, square, sampled, gap := 0.0, 0.0, 0, 0.0
		for sampled < samples {
			pass, sample := Draw()
			if pass > Most {
				t.Fatalf("%d pass at a time", pass)
			}
			gap += float64(pass)
			if !sample {
				continue
			}
			sampled++
			total += gap + 1
			square += gap * gap
			gap = 0
		}
		// The mean of 4000 has a standard error of 1.6 %; the gaps have a deviation like their mean.
		mean := total / samples
		if math.Abs(mean/float64(n)-1) > 0.08 {
			t.Errorf("one in %d: one in %.1f", n, mean)
		}
		deviation := math.Sqrt(square/samples - (mean-1)*(mean-1))
		if want := math.Sqrt(float64(n) * float64(n-1)); math.Abs(deviation-want) > want*0.15 {
			t.Errorf("one in %d: the deviation is %.1f, want %.1f", n, deviation, want)
		}
	}
}

func TestOff(t *testing.T) {
	defer Set(Set(0))
	for range 1000 {
		if pass, sample := Draw(); pass != Most || sample {
			t.Fatal(pass, sample)
		}
	}
}

func TestSeed(t *testing.T) {
	defer Set(Set(100))
	draw := func() (out []uint32) {
		Seed(7)
		for range 100 {
			pass, _ := Draw()
			out = append(out, pass)
			if Bit() {
				out = append(out, 1)
			}
		}
		return out
	}
	one, other := draw(), draw()
	for i := range one {
		if one[i] != other[i] {
			t.Fatalf("draw %d is %d, then %d", i, one[i], other[i])
		}
	}
}

func TestSlots(t *testing.T) {
	defer slots.Store(slots.Swap(256))
	if !SetSlots(10) || !SetSlots(20) || Slots() != 20 || SetSlots(10) || Slots() != 20 {
		t.Errorf("%d slots", Slots())
	}
}
