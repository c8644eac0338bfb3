// Command maps measures package table beside Go's map, and prints a table in Markdown.
//
//	go run ./maps [flags]
//
// Each row has two sides that do the same work and whose results must be equal. The command:
//
//  1. builds both sides of a row;
//  2. runs them in turn, once a round, the first one last in the next round;
//  3. leaves out a round during which the rest of the machine was busy;
//  4. prints the medians of the times of an operation, the median of the rounds' ratios, and the ratio of the
//     shortest times.
//
// rows.go has the rows, loops.go the loops.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/seed-9a6c551e/offheap/bench/internal/machine"
	"github.com/seed-9a6c551e/offheap/bench/internal/summary"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

type options struct {
	rounds     int
	quick      bool
	busy       float64 // percent
	patience   time.Duration
	smallPages bool
	cpu        bool
}

// row is a row of the table.
type row struct {
	name   string
	beside string // what the figure is compared with
	target string // of the ratio
	unit   string
	open   func(o *options) pair
}

// pair has both sides of a row. Each returns the figure of one run, and a check value that must be equal for both.
type pair struct {
	ours, theirs func() (figure float64, check uint64)
	close        func()
	note         string
}

// result is what was measured of a row.
type result struct {
	ours, theirs, ratios []float64 // of the rounds
	leftOut              int
	note                 string
}

func main() {
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: go run ./maps [flags]\n\n")
		flag.PrintDefaults()
	}
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 11, "run both sides of each row `N` times, in turn")
	rows := flag.String("rows", ".", "measure only the rows whose name a regular `EXPRESSION` finds: see -list")
	list := flag.Bool("list", false, "print the names of the rows, and stop")
	flag.BoolVar(&o.quick, "quick", false, "use a fifth of the entries in large tables, and do a quarter of the steps")
	flag.Float64Var(&o.busy, "busy", 4, "leave out a round if the rest of the machine took more than this `PERCENT` of the processors; 100 leaves out none")
	flag.DurationVar(&o.patience, "patience", time.Minute, "begin no more rounds of a row after this `TIME`")
	flag.BoolVar(&o.smallPages, "small-pages", false, "do not ask for huge pages: then both sides have what the system gives them")
	flag.BoolVar(&o.cpu, "cpu", false, "measure the processor time of the process, and leave out no round: for a machine that is never idle")
	flag.Parse()
	chosen, err := regexp.Compile(*rows)
	if err != nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	by := scale{1, 1}
	if o.quick {
		by.large = 5
	}
	all := slices.DeleteFunc(allRows(by), func(r row) bool { return !chosen.MatchString(r.name) })
	if *list {
		for _, r := range all {
			fmt.Println(r.name)
		}
		return
	}
	fmt.Printf("%s\n\n", surroundings(&o))
	// Each row is printed when it was measured: an interrupt ends the table there.
	const line = "| %-46s | %-5s | %-15s | %10s | %8s | %5s | %12s | %9s |\n"
	fmt.Printf(line, "row", "unit", "compared with", "its figure", "offheap", "ratio", "of the least", "target")
	fmt.Printf(line, "---", "---", "---", "--:", "--:", "--:", "--:", "--:")
	var notes []string
	leftOut := 0
	for i, r := range all {
		fmt.Fprintf(os.Stderr, "\r%d of %d: %-60.60s\r", i+1, len(all), r.name)
		m := measure(&o, &r)
		fmt.Fprint(os.Stderr, "\033[K")
		fmt.Printf(line, r.name, r.unit, r.beside, summary.Cell(summary.Median(m.theirs)), summary.Cell(summary.Median(m.ours)),
			summary.Cell(summary.Median(m.ratios)), summary.Cell(least(m.ours)/least(m.theirs)), r.target)
		leftOut += m.leftOut
		if m.note != "" {
			notes = append(notes, r.name+": "+m.note)
		}
	}
	fmt.Println()
	for _, note := range notes {
		fmt.Println(note)
	}
	if o.cpu {
		fmt.Println("times are processor times")
	}
	fmt.Printf("%d rounds left out: the machine was busy\n", leftOut)
}

// measure runs both sides of a row in turn.
func measure(o *options, r *row) (m result) {
	p := r.open(o)
	if p.close != nil {
		defer p.close()
	}
	m.note = p.note
	start := time.Now()
	for round := range o.rounds {
		if time.Since(start) > o.patience {
			m.note += fmt.Sprintf(" %d rounds took too long", round)
			break
		}
		runtime.GC()
		busy, processors := machine.BusySeconds()
		own, began := workload.ProcessorTime().Seconds(), time.Now()
		sides := []func() (float64, uint64){p.ours, p.theirs}
		var figures [2]float64
		var checks [2]uint64
		for turn := range sides {
			side := (turn + round) % 2
			figures[side], checks[side] = sides[side]()
		}
		if checks[0] != checks[1] {
			panic(fmt.Sprintf("%s: the sides disagree: %d and %d", r.name, checks[0], checks[1]))
		}
		now, _ := machine.BusySeconds()
		wall := time.Since(began).Seconds()
		if wall > 0.1 && !o.cpu && (now-busy-(workload.ProcessorTime().Seconds()-own))/(wall*float64(processors)) > o.busy/100 {
			m.leftOut++
			continue
		}
		m.ours = append(m.ours, figures[0])
		m.theirs = append(m.theirs, figures[1])
		m.ratios = append(m.ratios, figures[0]/figures[1])
	}
	return m
}

// surroundings describes what else the figures depend on.
func surroundings(o *options) string {
	huge := "unknown"
	if text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err == nil {
		huge = strings.TrimSpace(string(text))
	}
	limit := "none"
	if l := debug.SetMemoryLimit(-1); l != math.MaxInt64 {
		limit = fmt.Sprintf("%d MiB", l>>20)
	}
	gogc := os.Getenv("GOGC")
	if gogc == "" {
		gogc = "100"
	}
	return fmt.Sprintf("%s %s/%s, %d processors; GOMEMLIMIT %s, GOGC %s; transparent huge pages: %s, arenas ask for them: %v",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), limit, gogc, huge, !o.smallPages)
}

func least(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	return slices.Min(x)
}
