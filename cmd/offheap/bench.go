package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocbench"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/guard"
)

const benchAbout = `Runs a benchmark of an allocator and prints nanoseconds for each operation.

Labels:
  C1t1, C1t2   replace one of 100,000 objects at random, on one and on two goroutines
  C2uni, C2bi  objects that one goroutine allocates and another frees: one way, both ways
  C2ph         the same by turns, 65,536 objects at a time
  C3           a million objects of 64 bytes: freed at once, in order, shuffled
  C4r, C4c     resident memory after a change of phase: freed at random, in clusters
  C5           the arena: allocate objects of 16, 32 and 64 bytes and write to each; in 1 MiB
               that is in the cache (hot), in 256 MiB of fresh memory (fresh), in the same again
               after a reset (reset), and in fresh memory with huge pages (thp)
  fleet        sizes and lifetimes as Google publishes them: 256 MiB of objects, then 5 million
               more while others die, for each table tcmalloc_N.csv in the folder that -sizes
               names; its lines are size,alloc_rate,num_live; objects above 1 MiB are left out
  growth       C1t1 with 1,000 live objects, and ten times as many, up to 10 million (4 GB)
  gc           forced collections without objects and with 20 million of 64 bytes (2 GB)

All but C5 time a slab.Heap whose memory is not zeroed, which is what malloc does.`

// figure is one result: its key, as the drivers for other allocators write it, and its value.
type figure struct {
	key   string
	value float64
}

// result is a line of results.
type result struct {
	name    string // what tells it from the others of the label
	figures []figure
	proof   string // that the work was the same
	all     any    // as it was measured, for -json
}

func bench(args []string, stdout, stderr io.Writer) int {
	f := newFlags("bench [-local | -goheap | -zero | -hardened] [-sample N] [-kv | -json] [-sizes DIR] LABEL", benchAbout, stdout, stderr)
	kv := f.Bool("kv", false, "print lines of key=value, as the drivers for other allocators do")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	local := f.Bool("local", false, "time a slab.Local for each goroutine")
	goHeap := f.Bool("goheap", false, "time the Go heap")
	zero := f.Bool("zero", false, "time a slab.Heap that hands out zeroed memory")
	hardened := f.Bool("hardened", false, "time a slab.Heap with Config.Hardened")
	sample := f.Int("sample", 0, "sample one allocation in `N` (guard.Sample)")
	sizes := f.String("sizes", "", "for fleet: the `folder` of the tables")
	if status, ok := f.parse(args, 1); !ok {
		return status
	}
	kind, chosen := allocators.Heap, 0
	for name, set := range map[allocators.Kind]bool{allocators.Local: *local, allocators.Go: *goHeap, allocators.Zero: *zero, allocators.Hardened: *hardened} {
		if set {
			kind = name
			chosen++
		}
	}
	labels := benches(*sizes, stderr)
	measure := labels[f.Arg(0)]
	switch {
	case f.NArg() == 0:
		return f.refuse("which label? There are %s", strings.Join(slices.Sorted(maps.Keys(labels)), ", "))
	case measure == nil:
		return f.refuse("there is no label %q", f.Arg(0))
	case *kv && *asJSON:
		return f.refuse("-kv and -json exclude each other")
	case chosen > 1:
		return f.refuse("-local, -goheap, -zero and -hardened exclude one another")
	case chosen > 0 && f.Arg(0) == "C5":
		return f.refuse("C5 is about the arena alone")
	case *sample < 0:
		return f.refuse("-sample %d: it must not be negative", *sample)
	case *sample > 0 && (*goHeap || f.Arg(0) == "C5"):
		return f.refuse("-sample is for slab.Heaps: not for -goheap, nor for C5")
	case (f.Arg(0) == "fleet") != (*sizes != ""):
		return f.refuse("fleet needs -sizes, the folder of the tables tcmalloc_N.csv, and no other label does")
	case *sizes != "":
		if err := checkFolder(*sizes); err != nil {
			return f.refuse("%v", err)
		}
	}
	defer guard.Sample(guard.Sample(*sample))
	show, done := newProgress(stderr, "")
	var all []result
	err := measure(kind, show, func(r result) {
		all = append(all, r)
		if *kv {
			done()
			printKeys(stdout, r)
		}
	})
	done()
	if err == nil && *asJSON {
		measured := make([]any, len(all))
		for i, r := range all {
			measured[i] = r.all
		}
		err = printJSON(stdout, map[string]any{"label": f.Arg(0), "allocator": kind, "sample": *sample, "results": measured})
	} else if err == nil && !*kv {
		err = printRows(stdout, all)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

// benches are the benchmarks by label. Each reports its rows as they are done. sizes is the folder
// of tables for the one that needs it; what is left out is said on stderr.
func benches(sizes string, stderr io.Writer) map[string]func(kind allocators.Kind, show measure.Progress, report func(result)) error {
	return map[string]func(allocators.Kind, measure.Progress, func(result)) error{
		"C1t1":   churn(1),
		"C1t2":   churn(2),
		"C2uni":  cross(false),
		"C2bi":   cross(true),
		"C2ph":   phased,
		"C3":     fixed,
		"C4r":    phases(false),
		"C4c":    phases(true),
		"C5":     bumps,
		"fleet":  fleet(sizes),
		"growth": growth(stderr),
		"gc":     collections,
	}
}

func churn(goroutines int) func(allocators.Kind, measure.Progress, func(result)) error {
	return func(kind allocators.Kind, _ measure.Progress, report func(result)) error {
		c, err := allocbench.MeasureChurn(kind, goroutines)
		report(result{string(kind), []figure{
			{"ns_op", c.NsOp}, {"peak_ratio", c.PeakRatio}, {"live_MB", c.LiveMB}, {"peak_MB", c.PeakMB},
		}, fmt.Sprintf("state=%016x", c.State), c})
		return err
	}
}

func cross(both bool) func(allocators.Kind, measure.Progress, func(result)) error {
	return func(kind allocators.Kind, _ measure.Progress, report func(result)) error {
		c, err := allocbench.MeasureHandOver(kind, both)
		report(result{string(kind), []figure{{"ns_pair", c.NsPair}, {"peak_MB", c.PeakMB}}, fmt.Sprintf("sum=%d", c.Sum), c})
		return err
	}
}

func phased(kind allocators.Kind, _ measure.Progress, report func(result)) error {
	p, err := allocbench.MeasureTurns(kind)
	report(result{string(kind), []figure{{"ns_alloc", p.NsAlloc}, {"ns_rfree", p.NsFree}, {"peak_MB", p.PeakMB}}, fmt.Sprintf("sum=%d", p.Sum), p})
	return err
}

func fixed(kind allocators.Kind, _ measure.Progress, report func(result)) error {
	x, err := allocbench.MeasurePair(kind)
	report(result{string(kind), []figure{
		{"lifo_pair", x.LIFO}, {"alloc_fresh", x.Fresh}, {"free_inorder", x.FreeInOrder}, {"alloc_after_inorder", x.AllocInOrder},
		{"free_shuffled", x.FreeShuffled}, {"alloc_after_shuffled", x.AllocShuffled},
	}, "", x})
	return err
}

func phases(clustered bool) func(allocators.Kind, measure.Progress, func(result)) error {
	return func(kind allocators.Kind, _ measure.Progress, report func(result)) error {
		p, err := allocbench.MeasurePhase(kind, clustered)
		var all []figure
		for i, mb := range p.MB {
			all = append(all, figure{fmt.Sprintf("P%d_MB", i+1), mb})
		}
		for i, mb := range p.Live {
			all = append(all, figure{fmt.Sprintf("L%d", i+1), mb})
		}
		all = append(all, figure{"ratio3", p.Ratio}, figure{"nsP1", p.AllocNs}, figure{"nsP2", p.FreeNs}, figure{"nsP3", p.LargerNs})
		report(result{string(kind), all, "", p})
		return err
	}
}

func bumps(_ allocators.Kind, show measure.Progress, report func(result)) error {
	return allocbench.MeasureBump(show, func(b allocbench.Bump) {
		report(result{fmt.Sprintf("size=%d", b.Size), []figure{
			{"hot", b.Hot}, {"fresh256M", b.Fresh}, {"reset256M", b.Reset}, {"thp256M", b.Huge},
		}, "", b})
	})
}

func fleet(sizes string) func(allocators.Kind, measure.Progress, func(result)) error {
	return func(kind allocators.Kind, show measure.Progress, report func(result)) error {
		return allocbench.MeasureFleet(kind, sizes, show, func(x allocbench.Fleet) {
			report(result{fmt.Sprintf("table=%s", x.Table), []figure{
				{"ns_fill", x.NsFill}, {"ns_op", x.NsOp}, {"live_MB", x.LiveMB}, {"peak_MB", x.PeakMB}, {"peak_ratio", x.PeakRatio},
			}, fmt.Sprintf("state=%016x sum=%d", x.State, x.Sum), x})
		})
	}
}

func growth(stderr io.Writer) func(allocators.Kind, measure.Progress, func(result)) error {
	return func(kind allocators.Kind, show measure.Progress, report func(result)) error {
		return allocbench.MeasureGrowth(kind, show, func(g allocbench.Growth) {
			report(result{fmt.Sprintf("live=%d", g.Live), []figure{{"ns_op", g.NsOp}, {"peak_ratio", g.PeakRatio}},
				fmt.Sprintf("state=%016x", g.State), g})
		}, func(why error) { fmt.Fprintf(stderr, "offheap bench: %v\n", why) })
	}
}

func collections(kind allocators.Kind, show measure.Progress, report func(result)) error {
	return allocbench.MeasureGC(kind, show, func(g allocbench.GC) {
		name := "row=empty"
		if g.Objects > 0 {
			name = "row=objects"
		}
		report(result{name, []figure{{"gc_ms", g.Ms}, {"gc_cpu_ms", g.CPUMs}, {"rss_MB", g.RSSMB}}, "", g})
	})
}

func printKeys(w io.Writer, r result) {
	var words []string
	if strings.Contains(r.name, "=") {
		words = append(words, r.name)
	}
	for _, x := range r.figures {
		words = append(words, fmt.Sprintf("%s=%.3f", x.key, x.value))
	}
	if r.proof != "" {
		words = append(words, r.proof)
	}
	fmt.Fprintln(w, strings.Join(words, " "))
}

func printRows(w io.Writer, all []result) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	for i, r := range all {
		if i == 0 {
			for _, x := range r.figures {
				fmt.Fprintf(t, "\t%s", x.key)
			}
			fmt.Fprint(t, "\t\n")
		}
		fmt.Fprint(t, r.name)
		for _, x := range r.figures {
			fmt.Fprintf(t, "\t%.2f", x.value)
		}
		fmt.Fprint(t, "\t\n")
	}
	return t.Flush()
}
