// Command cache measures package cache beside other caches for Go, and prints tables in Markdown.
//
//	go run ./cache [flags]
//
// Each cache of the first table is in a process of its own. The command:
//
//  1. starts the processes, which fill their caches with the same entries;
//  2. has them do the same operations in turn, once a round, in another order each round;
//  3. leaves out a round during which the rest of the machine was busy;
//  4. prints the medians, and the ratio of package cache to the fastest of the others: the median of the rounds' ratios, and the ratio of the shortest
//     times.
//
// The second table has the hit ratios of package cache, otter and ristretto with the same number of entries. peers.go has the
// caches, worker.go what is measured, streams.go the keys of the second table.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/seed-9a6c551e/offheap/bench/internal/machine"
	"github.com/seed-9a6c551e/offheap/bench/internal/summary"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

type options struct {
	rounds  int
	quick   bool
	busy    float64 // percent
	cpu     bool
	inputs  string
	chosen  *regexp.Regexp
	leftOut int
	entries int // of the tables of times and memory
	many    int // of the table of collections
}

func main() {
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: go run ./cache [flags]\n\n")
		flag.PrintDefaults()
	}
	o := &options{entries: 1_000_000, many: 20_000_000}
	flag.IntVar(&o.rounds, "rounds", 7, "measure each row `N` times, all caches in turn")
	rows := flag.String("rows", ".", "measure only the rows whose name a regular `EXPRESSION` finds: get, set, mix, memory, collection, pause, snapshot, hits")
	flag.BoolVar(&o.quick, "quick", false, "use a fifth of the entries, and fewer accesses for the hit ratios")
	flag.Float64Var(&o.busy, "busy", 4, "leave out a round if the rest of the machine took more than this `PERCENT` of the processors; 100 leaves out none")
	flag.BoolVar(&o.cpu, "cpu", false, "measure the processor time of the processes, and leave out no round: for a machine that is never idle")
	flag.StringVar(&o.inputs, "inputs", "../../shared/inputs/cache", "the `FOLDER` of recorded accesses and published parameters, which are not part of this repository; without it their rows are left out")
	worker := flag.String("worker", "", "be the process that has the cache of this `NAME`; the command starts it")
	flag.Parse()
	if *worker != "" {
		work(*worker)
		return
	}
	var err error
	if o.chosen, err = regexp.Compile(*rows); err != nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if o.quick {
		o.entries /= 5
		o.many /= 5
	}
	kind := "times of the clock"
	if o.cpu {
		o.busy, kind = 100, "processor times"
	}
	fmt.Printf("%s %s/%s, %d processors; %s; %d entries of %d + %d bytes\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kind, o.entries, keyBytes, valueBytes)
	o.times()
	o.pauses()
	o.collections()
	o.hits()
	if o.leftOut > 0 {
		fmt.Printf("\n%d rounds left out: the machine was busy\n", o.leftOut)
	}
}

// limits returns the limits of a cache in which all entries have room.
func (o *options) limits(entries int) limits {
	return limits{Entries: 2 * entries, Bytes: max(64<<20, entries*(keyBytes+valueBytes)*5/2)}
}

func heading(first string, columns ...string) {
	fmt.Printf("| %-34s |", first)
	for _, c := range columns {
		fmt.Printf(" %10s |", c)
	}
	fmt.Printf("\n| --- |")
	for range columns {
		fmt.Printf(" --: |")
	}
	fmt.Println()
}

func line(first string, columns ...string) {
	fmt.Printf("| %-34s |", first)
	for _, c := range columns {
		fmt.Printf(" %10s |", c)
	}
	fmt.Println()
}

func names() (all []string) {
	for _, p := range peers {
		all = append(all, p.name)
	}
	return all
}

// times prints the times of operations, memory, and the speed of snapshots.
func (o *options) times() {
	type row struct {
		name, target string
		order        order
	}
	var rows []row
	steps := o.entries
	for _, r := range []row{
		{"get, one goroutine", "0.8", order{Operation: "get", Goroutines: 1}},
		{"set, one goroutine", "0.8", order{Operation: "set", Goroutines: 1}},
		{"mix 90/10, one goroutine", "0.8", order{Operation: "mix", Goroutines: 1}},
		{"get, two goroutines, Zipf 0.99", "0.8", order{Operation: "get", Goroutines: 2, Zipf: true}},
		{"set, two goroutines, Zipf 0.99", "0.8", order{Operation: "set", Goroutines: 2, Zipf: true}},
		{"mix 90/10, two, Zipf 0.99", "0.8", order{Operation: "mix", Goroutines: 2, Zipf: true}},
	} {
		if o.chosen.MatchString(r.name) {
			r.order.Do, r.order.Steps, r.order.CPU = "time", steps, o.cpu
			rows = append(rows, r)
		}
	}
	memory, snapshot := o.chosen.MatchString("memory over payload"), o.chosen.MatchString("snapshot")
	if len(rows) == 0 && !memory && !snapshot {
		return
	}
	heading("ns for an operation", append(names(), "ratio", "of least", "target")...)
	var workers []*remote
	var columns []string
	notes := ""
	for _, name := range names() {
		progress("fill %s", name)
		w := startWorker(name)
		defer w.stop()
		workers = append(workers, w)
		a := w.do(order{Do: "fill", Entries: o.entries, Limits: o.limits(o.entries)})
		columns = append(columns, summary.Cell(a.Figures[0]))
		if a.Figures[1] < 1 {
			notes += fmt.Sprintf("%s has %.4f of the entries that were set.\n", name, a.Figures[1])
		}
	}
	if memory {
		line("resident memory over payload", append(columns, "", "", "1.3")...)
	}
	for _, r := range rows {
		figures, checks := make([][]float64, len(workers)), make([]uint64, len(workers))
		var ratios []float64
		for _, w := range workers {
			w.do(order{Do: "refill"}) // sets have pushed entries out of caches that only append
		}
		for round := range o.rounds {
			progress("%s: round %d of %d", r.name, round+1, o.rounds)
			took := make([]float64, len(workers))
			if !o.undisturbed(workers, func() {
				for turn := range workers {
					i := (turn + round) % len(workers)
					a := workers[i].do(r.order)
					took[i], checks[i] = a.Figures[0], a.Check
				}
			}) {
				continue
			}
			for i, t := range took {
				figures[i] = append(figures[i], t)
			}
			ratios = append(ratios, took[0]/slices.Min(took[1:]))
		}
		var columns []string
		least, leastOther := math.NaN(), math.Inf(1)
		for i := range workers {
			columns = append(columns, summary.Cell(summary.Median(figures[i])))
			if len(figures[i]) == 0 {
				continue
			}
			if i == 0 {
				least = slices.Min(figures[i])
			} else {
				leastOther = min(leastOther, slices.Min(figures[i]))
			}
			if share := float64(checks[i]) / float64(r.order.Steps*r.order.Goroutines); share < 0.999 {
				notes += fmt.Sprintf("%s: %s: %.4f of the operations hit.\n", r.name, workers[i].name, share)
			}
		}
		line(r.name, append(columns, summary.Cell(summary.Median(ratios)), summary.Cell(least/leastOther), r.target)...)
	}
	if snapshot {
		var wrote, read []float64
		skip := ""
		for range o.rounds {
			progress("snapshots")
			a := workers[0].do(order{Do: "save", Limits: o.limits(o.entries)})
			if skip = a.Skip; skip != "" {
				break
			}
			wrote, read = append(wrote, a.Figures[0]), append(read, a.Figures[1])
		}
		if skip == "" {
			fmt.Printf("\nsnapshots: WriteTo %s GiB/s, ReadFrom %s GiB/s of keys and values; target 1\n", summary.Cell(summary.Median(wrote)), summary.Cell(summary.Median(read)))
		}
	}
	fmt.Printf("\n%s\n", notes)
}

// undisturbed runs f, and tells whether the rest of the machine was idle enough meanwhile.
func (o *options) undisturbed(workers []*remote, f func()) bool {
	own := func() (seconds float64) {
		for _, w := range workers {
			seconds += processSeconds(w.cmd.Process.Pid)
		}
		return seconds + workload.ProcessorTime().Seconds()
	}
	busy, processors := machine.BusySeconds()
	was, began := own(), time.Now()
	f()
	now, _ := machine.BusySeconds()
	others := now - busy - (own() - was)
	if o.busy < 100 && others > o.busy/100*time.Since(began).Seconds()*float64(processors) {
		o.leftOut++
		return false
	}
	return true
}

// pauses prints percentiles of the time of a Set of a new key in a full cache.
func (o *options) pauses() {
	if !o.chosen.MatchString("pause") {
		return
	}
	percentiles := []string{"p50", "p99", "p99.9", "p99.99", "longest"}
	heading("Set at the limit of 64 MiB, ns", percentiles...)
	var workers []*remote
	for _, name := range names() {
		progress("fill %s", name)
		w := startWorker(name)
		defer w.stop()
		workers = append(workers, w)
		const limit = 64 << 20
		w.do(order{Do: "fill", Entries: o.entries, Limits: limits{Entries: limit / 140, Bytes: limit}})
	}
	figures := make([][][]float64, len(workers))
	for round := range o.rounds {
		progress("pauses: round %d of %d", round+1, o.rounds)
		o.undisturbed(workers, func() {
			for turn := range workers {
				i := (turn + round) % len(workers)
				figures[i] = append(figures[i], workers[i].do(order{Do: "pauses", Steps: o.entries}).Figures)
			}
		})
	}
	for i, w := range workers {
		var columns []string
		for p := range percentiles {
			var x []float64
			for _, f := range figures[i] {
				x = append(x, f[p])
			}
			columns = append(columns, summary.Cell(summary.Median(x)))
		}
		line(w.name, columns...)
	}
	fmt.Printf("\nTarget: p99.9 at most 10,000\n\n")
}

// collections prints the time of a forced collection while a cache is full of entries.
func (o *options) collections() {
	if !o.chosen.MatchString("collection") {
		return
	}
	heading(fmt.Sprintf("forced collection, %d entries", o.many), "ms", "of payload")
	for _, name := range []string{"nothing", "offheap", "fastcache", "freecache"} {
		progress("collections: %s", name)
		w := startWorker(name)
		memory := w.do(order{Do: "fill", Entries: o.many, Limits: o.limits(o.many)}).Figures[0]
		line(name, summary.Cell(w.do(order{Do: "collect"}).Figures[0]), summary.Cell(memory))
		w.stop()
	}
	fmt.Printf("\nTarget: that of nothing, and 1 ms\n\n")
}

// hits prints the hit ratios.
func (o *options) hits() {
	if !o.chosen.MatchString("hits") {
		return
	}
	heading("hits, % of gets", "entries", "offheap", "otter", "ristretto", "over best")
	rows, above, close, worst, sum := 0, 0, 0, math.Inf(1), 0.0
	for _, s := range streams(o) {
		for _, percent := range []int{1, 10} {
			progress("%s, %d %%", s.name, percent)
			ratio, held := runOurs(s, s.distinct*percent/100)
			otter, ristretto := hitRatio(s, newOtterCounting(held)), hitRatio(s, newRistrettoCounting(held))
			over := ratio - max(otter, ristretto)
			line(fmt.Sprintf("%s, %d %%", s.name, percent), fmt.Sprint(held), summary.Cell(ratio), summary.Cell(otter), summary.Cell(ristretto), fmt.Sprintf("%+.2f", over))
			rows++
			if over >= 0 {
				above++
			}
			if over >= -0.5 {
				close++
			}
			worst, sum = min(worst, over), sum+over
		}
	}
	fmt.Printf("\n%d rows: at least the better of both in %d, at least that less 0.5 in %d; worst %+.2f, mean %+.2f\n", rows, above, close, worst, sum/float64(max(rows, 1)))
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\r\033[K%.70s\r", fmt.Sprintf(format, args...))
}
