package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocbench"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// benchCase is a benchmark: what the command line may ask for, and the function that measures it.
// Help, and each refusal of a flag, are made from these rows.
type benchCase struct {
	label string            // NAME, or NAME/VARIANT
	old   string            // the label of the drivers for C allocators, accepted too; "" if they have none
	about string            // for help: the work, and the keys of the figures that need a word
	kinds []allocators.Kind // the allocators that it can measure; the first is the default
	flags []string          // the flags that apply, besides kindFlags, -kv and -json
	needs string            // the flag without which it cannot run; "" if there is none
	run   func(job *benchJob) error
}

// benchJob is a benchmark as the command line asks for it.
type benchJob struct {
	kind     allocators.Kind
	live     int    // objects of a churn, on each goroutine
	ops      int    // steps of a churn or objects of a hand-over, likewise; 0 for the usual number
	sizes    string // the folder of the tables
	progress measure.Progress
	report   func(result) // is called with each row of figures as soon as it is measured
	warn     func(error)  // is called with the reason why a row is left out
}

// malloc are the kinds that free objects one by one.
var malloc = []allocators.Kind{allocators.Heap, allocators.Local, allocators.Zero, allocators.ZeroLocal, allocators.Hardened, allocators.Go}

// benchCases are sorted by label.
var benchCases = []benchCase{
	{
		label: "bump", old: "C5", kinds: []allocators.Kind{allocators.Arena}, run: runBump,
		about: `allocate objects of 16, 32 and 64 bytes in an arena and write to each:
in 1 MiB that is in the cache (hot), in 256 MiB of fresh memory (fresh),
in the same again after a reset (reset), and in fresh memory with huge
pages (thp)`,
	},
	{
		label: "churn", old: "C1t1", kinds: malloc, flags: []string{"sample", "live", "ops"}, run: runChurn(1),
		about: `replace one of 100,000 objects at random, 50 million times (-live and
-ops: other numbers)`,
	},
	{
		label: "churn/2", old: "C1t2", kinds: malloc, flags: []string{"sample", "live", "ops"}, run: runChurn(2),
		about: `the same on two goroutines, each with 100,000 objects of its own`,
	},
	{
		label: "fleet", kinds: malloc, flags: []string{"sample"}, needs: "sizes", run: runFleet,
		about: `sizes and lifetimes as Google publishes them: 256 MiB of objects
(ns_fill), then 5 million more while others die (ns_op); for each table
tcmalloc_N.csv in the folder that -sizes names. The lines of a table
are size,alloc_rate,num_live; sizes above 1 MiB are left out`,
	},
	{
		label: "gc", kinds: malloc, flags: []string{"sample"}, run: runGC,
		about: `force collections, first without objects, then with 20 million of 64
bytes (2 GB)`,
	},
	{
		label: "growth", kinds: malloc, flags: []string{"sample"}, run: runGrowth,
		about: `churn with 1,000 live objects, then with ten times as many, and so on
up to 10 million (4 GB)`,
	},
	{
		label: "handover", old: "C2uni", kinds: malloc, flags: []string{"sample", "ops"}, run: runHandOver(false),
		about: `10 million objects that one goroutine allocates and another frees`,
	},
	{
		label: "handover/both", old: "C2bi", kinds: malloc, flags: []string{"sample", "ops"}, run: runHandOver(true),
		about: `the same both ways: two goroutines allocate, and each frees the objects
of the other`,
	},
	{
		label: "handover/turns", old: "C2ph", kinds: malloc, flags: []string{"sample", "ops"}, run: runTurns,
		about: `the same by turns: one allocates 65,536 objects (ns_alloc), then the
other frees them (ns_rfree)`,
	},
	{
		label: "pair", old: "C3", kinds: malloc, flags: []string{"sample"}, run: runPair,
		about: `allocate an object of 64 bytes and free it at once (lifo_pair); then a
million of them, freed in the order of allocation (inorder) and at
random (shuffled)`,
	},
	{
		label: "phase", old: "C4r", kinds: malloc, flags: []string{"sample"}, run: runPhase(false),
		about: `memory in RAM after each of five phases: a million objects of 64 bytes
(P1), seven of eight freed at random (P2), 200,000 more of 512 bytes
(P3), all freed (P4), a second later (P5). L1 to L3 are the live bytes,
ratio3 is P3 over L3`,
	},
	{
		label: "phase/clustered", old: "C4c", kinds: malloc, flags: []string{"sample"}, run: runPhase(true),
		about: `the same, freed in clusters`,
	},
}

// findCase returns the benchmark of a label, old or new; nil if there is none.
func findCase(label string) *benchCase {
	for i := range benchCases {
		if c := &benchCases[i]; label != "" && (label == c.label || label == c.old) {
			return c
		}
	}
	return nil
}

// labelsOf returns the labels of the benchmarks that pass a test, sorted.
func labelsOf(pass func(*benchCase) bool) (labels []string) {
	for i := range benchCases {
		if pass(&benchCases[i]) {
			labels = append(labels, benchCases[i].label)
		}
	}
	return labels
}

// takes tells whether a flag that is not of the output applies to the benchmark.
func (c *benchCase) takes(flag string) bool {
	for _, k := range kindFlags {
		if k.flag == flag {
			return slices.Contains(c.kinds, k.kind)
		}
	}
	return flag == c.needs || slices.Contains(c.flags, flag)
}

// figure is one figure of a result: its key, as the drivers for C allocators write it, and its value.
type figure struct {
	key   string
	value float64
}

// result is a row of figures.
type result struct {
	name     string // tells the row from others of the benchmark, as key=value; or the allocator's kind
	figures  []figure
	proof    string // the check values, equal for all allocators that did the same work
	measured any    // for -json
}

func runBump(job *benchJob) error {
	return allocbench.MeasureBump(job.progress, func(b allocbench.Bump) {
		job.report(result{fmt.Sprintf("size=%d", b.Size), []figure{
			{"hot", b.Hot}, {"fresh256M", b.Fresh}, {"reset256M", b.Reset}, {"thp256M", b.Huge},
		}, "", b})
	})
}

func runChurn(goroutines int) func(*benchJob) error {
	return func(job *benchJob) error {
		c, err := allocbench.MeasureChurn(job.kind, goroutines, job.live, cmp.Or(job.ops, allocbench.ChurnOps))
		if err != nil {
			return err
		}
		job.report(result{string(job.kind), []figure{
			{"ns_op", c.NsOp}, {"peak_ratio", c.PeakRatio}, {"live_MB", c.LiveMB}, {"peak_MB", c.PeakMB},
		}, fmt.Sprintf("state=%016x", c.State), c})
		return nil
	}
}

func runFleet(job *benchJob) error {
	return allocbench.MeasureFleet(job.kind, job.sizes, job.progress, func(x allocbench.Fleet) {
		job.report(result{fmt.Sprintf("table=%s", x.Table), []figure{
			{"ns_fill", x.NsFill}, {"ns_op", x.NsOp}, {"live_MB", x.LiveMB}, {"peak_MB", x.PeakMB}, {"peak_ratio", x.PeakRatio},
		}, fmt.Sprintf("state=%016x sum=%d", x.State, x.Sum), x})
	})
}

func runGC(job *benchJob) error {
	return allocbench.MeasureGC(job.kind, job.progress, func(g allocbench.GC) {
		name := "row=empty"
		if g.Objects > 0 {
			name = "row=objects"
		}
		job.report(result{name, []figure{{"gc_ms", g.Ms}, {"gc_cpu_ms", g.CPUMs}, {"rss_MB", g.RSSMB}}, "", g})
	})
}

func runGrowth(job *benchJob) error {
	return allocbench.MeasureGrowth(job.kind, job.progress, func(g allocbench.Growth) {
		job.report(result{fmt.Sprintf("live=%d", g.Live), []figure{{"ns_op", g.NsOp}, {"peak_ratio", g.PeakRatio}},
			fmt.Sprintf("state=%016x", g.State), g})
	}, job.warn)
}

func runHandOver(both bool) func(*benchJob) error {
	return func(job *benchJob) error {
		h, err := allocbench.MeasureHandOver(job.kind, both, cmp.Or(job.ops, allocbench.HandOverObjects))
		if err != nil {
			return err
		}
		job.report(result{string(job.kind), []figure{{"ns_pair", h.NsPair}, {"peak_MB", h.PeakMB}}, fmt.Sprintf("sum=%d", h.Sum), h})
		return nil
	}
}

func runTurns(job *benchJob) error {
	t, err := allocbench.MeasureTurns(job.kind, cmp.Or(job.ops, allocbench.HandOverObjects))
	if err != nil {
		return err
	}
	job.report(result{string(job.kind), []figure{
		{"ns_alloc", t.NsAlloc}, {"ns_rfree", t.NsFree}, {"peak_MB", t.PeakMB},
	}, fmt.Sprintf("sum=%d", t.Sum), t})
	return nil
}

func runPair(job *benchJob) error {
	p, err := allocbench.MeasurePair(job.kind)
	if err != nil {
		return err
	}
	job.report(result{string(job.kind), []figure{
		{"lifo_pair", p.LIFO}, {"alloc_fresh", p.Fresh}, {"free_inorder", p.FreeInOrder}, {"alloc_after_inorder", p.AllocInOrder},
		{"free_shuffled", p.FreeShuffled}, {"alloc_after_shuffled", p.AllocShuffled},
	}, "", p})
	return nil
}

func runPhase(clustered bool) func(*benchJob) error {
	return func(job *benchJob) error {
		p, err := allocbench.MeasurePhase(job.kind, clustered)
		if err != nil {
			return err
		}
		var all []figure
		for i, mb := range p.MB {
			all = append(all, figure{fmt.Sprintf("P%d_MB", i+1), mb})
		}
		for i, mb := range p.Live {
			all = append(all, figure{fmt.Sprintf("L%d", i+1), mb})
		}
		all = append(all, figure{"ratio3", p.Ratio}, figure{"nsP1", p.AllocNs}, figure{"nsP2", p.FreeNs}, figure{"nsP3", p.LargerNs})
		job.report(result{string(job.kind), all, "", p})
		return nil
	}
}
