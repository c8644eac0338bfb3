package sampled

import (
	"math"
	"testing"
)

// TestRate counts the sampled ones of many allocations, and their distances.
func TestRate(t *testing.T) {
	defer Set(Current())
	for _, n := range []int{1, 2, 10, 1000, 20000} {
		mustSet(t, Sampling{Every: n, Seed: int64(n)})
		const samples = 4000
		total, square, sampled, gap := 0.0, 0.0, 0, 0.0
		for sampled < samples {
			pass, sample := Draw()
			if pass > MaxPass {
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
	defer Set(Current())
	for range 1000 {
		if pass, sample := Draw(); pass != MaxPass || sample {
			t.Fatal(pass, sample)
		}
	}
}

func TestSeed(t *testing.T) {
	defer Set(Current())
	draw := func() (out []uint32) {
		mustSet(t, Sampling{Every: 100, Seed: 7})
		for range 100 {
			pass, _ := Draw()
			out = append(out, pass)
			if coin() {
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

func mustSet(t *testing.T, s Sampling) {
	t.Helper()
	if _, err := Set(s); err != nil {
		t.Fatal(err)
	}
}

// TestSet sets the sampling. The number of slots can be set until Slots is called.
func TestSet(t *testing.T) {
	defer func(slots int, fixed bool) { setting.slots, setting.fixed = slots, fixed }(setting.slots, setting.fixed)
	defer Set(Sampling{Every: Current().Every})
	setting.slots, setting.fixed = defaultSlots, false
	mustSet(t, Sampling{Every: 7})
	for _, c := range []struct {
		slots, want int
		fixed, ok   bool
	}{
		{0, defaultSlots, false, true}, {10, 10, false, true}, {20, 20, false, true}, {0, 20, false, true},
		{-1, 20, false, false}, {MaxSlots + 1, 20, false, false}, {MaxSlots, MaxSlots, false, true}, {20, 20, false, true},
		{10, 20, true, false}, {20, 20, true, true}, {0, 20, true, true},
	} {
		if c.fixed && Slots() != 20 {
			t.Errorf("%d slots", Slots())
		}
		before := Current()
		old, err := Set(Sampling{Every: 3 + c.slots&1, Slots: c.slots})
		if (err == nil) != c.ok || old != before || Current().Slots != c.want || !c.ok && Current() != before {
			t.Errorf("%d slots after %+v: %v, old %+v, now %+v", c.slots, before, err, old, Current())
		}
	}
	before := Current()
	if old, err := Set(Sampling{Every: -1}); err == nil || old != before || Current() != before {
		t.Errorf("a negative rate: %v, %+v, now %+v", err, old, Current())
	}
}
