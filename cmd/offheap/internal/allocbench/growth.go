package allocbench

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Growth has the figures of the churn benchmark with a number of live objects.
type Growth struct {
	Live int `json:"live"`
	Churn
}

const growthOps = 5_000_000

// MeasureGrowth replaces one of 1,000 live objects at random, 5 million times, then one of ten times
// as many, and so on up to 10 million. It calls report for each number, or leftOut with an error if
// there is not enough memory for that many.
func MeasureGrowth(kind allocators.Kind, progress measure.Progress, report func(Growth), leftOut func(error)) error {
	steps := []int{1000, 10_000, 100_000, 1_000_000, 10_000_000}
	for i, live := range steps {
		progress("growth", i, len(steps))
		need := uint64(live) * 400 // 171 for the object, 9 for the harness, and the same again
		if kind == allocators.Go {
			need *= 2 // garbage waits for the collector
		}
		if err := measure.RoomFor(need); err != nil {
			leftOut(fmt.Errorf("live=%d is left out: %w", live, err))
			continue
		}
		workload.RestartPeak()
		c, err := MeasureChurn(kind, 1, live, growthOps)
		if err != nil {
			return err
		}
		report(Growth{live, c})
	}
	return nil
}
