package measure

import "testing"

// TestSince wraps around the ring of the last 256 pauses.
func TestSince(t *testing.T) {
	var from, to Collector
	from.cycles, to.cycles = 2, 5
	from.stats.NumGC, to.stats.NumGC = 255, 258
	from.stats.PauseTotalNs, to.stats.PauseTotalNs = 1000, 4000
	to.stats.PauseNs[254] = 9_000_000 // cycle 255: before
	to.stats.PauseNs[255] = 1_000_000 // cycle 256
	to.stats.PauseNs[0] = 2_000_000   // cycle 257
	to.stats.PauseNs[1] = 500_000     // cycle 258
	to.stats.PauseNs[2] = 9_000_000   // cycle 3: long ago
	if c := to.Since(&from); c.Cycles != 3 || c.STWTotalSeconds != 3e-6 || c.STWWorstSeconds != 2e-3 {
		t.Errorf("%+v", c)
	}
}
