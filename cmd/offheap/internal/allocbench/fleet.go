package allocbench

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Fleet has the figures of the fleet benchmark for one table.
type Fleet struct {
	Table     string  `json:"table"`
	NsFill    float64 `json:"ns_fill"`    // an allocation while memory fills
	NsOp      float64 `json:"ns_op"`      // an allocation and the frees that make room for it, about one
	LiveMB    float64 `json:"live_mb"`    // at the end, in millions of bytes
	PeakMB    float64 `json:"peak_mb"`    // the most in RAM, above the value before
	PeakRatio float64 `json:"peak_ratio"` // PeakMB over LiveMB
	Sum       uint64  `json:"sum"`        // of the sizes, and of the bytes of objects at the end: see sum
	State     uint64  `json:"state,string"`
}

const (
	fleetLive = 256 << 20
	fleetOps  = 5_000_000
	osPage    = 4096 // a byte in each is written, so all of an object is in RAM
)

// MeasureFleet runs the tables tcmalloc_N.csv of a folder. For each it allocates 256 MiB of objects of the
// sizes in the table, then 5 million objects more while others die, and calls report. Sizes above 1 MiB
// are left out.
func MeasureFleet(kind allocators.Kind, dir string, progress measure.Progress, report func(Fleet)) error {
	names, err := filepath.Glob(filepath.Join(dir, "tcmalloc_*.csv"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s: there is no table tcmalloc_N.csv", dir)
	}
	for i, name := range names {
		number, _ := strings.CutPrefix(strings.TrimSuffix(filepath.Base(name), ".csv"), "tcmalloc_")
		table, err := readFleetTable(name)
		if err != nil {
			return err
		}
		f, err := measureFleet(kind, table, fleetLive, fleetOps, func(done int) { progress("fleet", 3*i+done, 3*len(names)) })
		if err != nil {
			return err
		}
		f.Table = number
		report(f)
	}
	return nil
}

func measureFleet(kind allocators.Kind, table fleetTable, live, ops int, step func(int)) (f Fleet, err error) {
	step(0)
	plan := planFleet(table, live, ops)
	source, done, err := allocators.Open(kind)
	if err != nil {
		return f, err
	}
	defer done()
	inner := loopsFor(source())
	run := fleetRun{slots: allocators.Objects(plan.slots)}
	before := workload.RestartPeak()
	step(1)
	begin := time.Now()
	inner.run(&run, plan.fill)
	f.NsFill = float64(time.Since(begin).Nanoseconds()) / float64(len(plan.fill))
	step(2)
	begin = time.Now()
	inner.run(&run, plan.steady)
	f.NsOp = float64(time.Since(begin).Nanoseconds()) / float64(ops)
	peak := workload.Peak() - before
	bytes, sum := run.sum(plan)
	f.LiveMB, f.PeakMB, f.PeakRatio = float64(bytes)/1e6, float64(peak)/1e6, float64(peak)/float64(bytes)
	f.Sum, f.State = sum, uint64(plan.state)
	return f, nil
}

// fleetRun has the objects of a plan that is carried out.
type fleetRun struct {
	slots []allocators.Object
}

// sum returns the live bytes at the end, and a check value: all sizes of the plan, and the first and
// last byte of each live object, which an object that overlaps it would have changed.
func (r *fleetRun) sum(p *fleetPlan) (bytes int, sum uint64) {
	sizes := make([]int, p.slots)
	for _, events := range [][]fleetEvent{p.fill, p.steady} {
		for _, e := range events {
			sizes[e>>32] = int(uint32(e))
			sum += uint64(uint32(e))
		}
	}
	for slot, size := range sizes {
		if size > 0 {
			b := allocators.Bytes(r.slots[slot], size)
			bytes += size
			sum += uint64(b[0]) + uint64(b[size-1])
		}
	}
	return bytes, sum
}
