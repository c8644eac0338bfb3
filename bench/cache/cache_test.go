package main

import "testing"

// TestPeers sets and gets in each cache, as a worker does.
func TestPeers(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			var w worker
			l := limits{Entries: 4000, Bytes: 64 << 20}
			if a := w.do(p.name, &order{Do: "fill", Entries: 1000, Limits: l}); a.Figures[1] < 0.99 {
				t.Errorf("%v of the entries are there", a.Figures[1])
			}
			defer w.close()
			for _, operation := range []string{"get", "set", "mix"} {
				a := w.do(p.name, &order{Do: "time", Operation: operation, Goroutines: 2, Zipf: true, Steps: 2000})
				if a.Check < 3960 || a.Figures[0] <= 0 {
					t.Errorf("%s: %d of 4000 operations hit, %v ns", operation, a.Check, a.Figures)
				}
			}
			w.do(p.name, &order{Do: "pauses", Steps: 1000})
		})
	}
}

// TestHits measures the hit ratios of a small stream. Half of the accesses go to a few keys, so each cache must hit some.
func TestHits(t *testing.T) {
	s := zipfWithScans(1.1, 20_000, 100_000)
	ratio, held := runOurs(s, 1000)
	for name, x := range map[string]float64{
		"offheap": ratio, "otter": hitRatio(s, newOtterCounting(1000)), "ristretto": hitRatio(s, newRistrettoCounting(1000)),
	} {
		if x < 30 || x > 90 {
			t.Errorf("%s: %v %% of the gets hit", name, x)
		}
	}
	if held < 900 || held > 1100 {
		t.Errorf("%d entries, not 1000", held)
	}
}
