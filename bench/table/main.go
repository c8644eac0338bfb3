// Command table measures package slab beside C allocators and other Go packages, in one run, and prints two
// tables in Markdown.
//
//	go run ./table [flags] [BEFORE] AFTER
//
// BEFORE and AFTER are checkouts of offheap. The command:
//
//  1. builds the command offheap and the benchmarks of both, and the drivers for C allocators;
//  2. runs every driver with each C allocator, and every benchmark of both checkouts, in turn, once a round;
//  3. leaves out a run during which the rest of the machine was busy;
//  4. prints medians, and ratios of medians.
//
// rows.go has the commands of each row.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: go run ./table [flags] [BEFORE] AFTER\n\nBEFORE and AFTER are checkouts of offheap.\n\n")
		flag.PrintDefaults()
	}
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 5, "run everything `N` times, in turn")
	rows := flag.String("rows", ".", "measure only the rows whose name a regular `EXPRESSION` finds: see -list")
	list := flag.Bool("list", false, "print the names of the rows, and stop")
	flag.BoolVar(&o.quick, "quick", false, "do a tenth of the steps in the churns and the Go benchmarks")
	flag.Float64Var(&o.busy, "busy", 4, "leave out a run if the rest of the machine took more than this `PERCENT` of the processors; 100 leaves out none")
	flag.StringVar(&o.anchors, "anchors", "../../shared/anchors", "the `FOLDER` with build.sh of the drivers for C allocators")
	flag.StringVar(&o.trace, "trace", "../../shared/inputs/malloc/android/systemui.csv.gz", "the `FILE` of the recorded trace")
	flag.StringVar(&o.hardened, "hardened-malloc", "", "the library `FILE` of hardened_malloc; without it its time is taken to be 12 times tcmalloc's (RESULTS.md)")
	flag.Parse()
	chosen, err := regexp.Compile(*rows)
	if err != nil || flag.NArg() > 2 || flag.NArg() < 1 && !*list {
		flag.Usage()
		os.Exit(2)
	}
	o.rows = slices.DeleteFunc(allRows(o.quick), func(r row) bool { return !chosen.MatchString(r.name) })
	if *list {
		for _, r := range o.rows {
			fmt.Println(r.name)
		}
		return
	}
	o.trees = map[string]string{"after": flag.Arg(flag.NArg() - 1)}
	if flag.NArg() == 2 {
		o.trees["before"] = flag.Arg(0)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// run measures, and prints the tables.
func run(o options) error {
	folder, err := os.MkdirTemp("", "table")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	m, err := prepare(o, folder)
	if err != nil {
		return err
	}
	m.measure()
	m.print()
	return nil
}

// print writes both tables.
func (m *measurement) print() {
	heads := map[bool][]string{
		false: {"row", "compared with", "its figure", "before", "after", "before / it", "after / it", "target"},
		true:  {"row", "compared with", "its ns", "before", "after", "it / before", "it / after", "target"},
	}
	for _, peers := range []bool{false, true} {
		lines := [][]string{heads[peers], {"---", "---", "--:", "--:", "--:", "--:", "--:", "--:"}}
		for _, r := range m.rows {
			if r.peer == peers {
				lines = append(lines, m.line(r))
			}
		}
		if len(lines) == 2 {
			continue
		}
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
		for _, cells := range lines {
			fmt.Fprintf(t, "| %s\t|\n", strings.Join(cells, "\t| "))
		}
		t.Flush()
		fmt.Println()
	}
	for _, note := range m.notes {
		fmt.Println(note)
	}
	fmt.Printf("%d runs left out: the machine was busy\n", m.leftOut)
}

// line returns the cells of a row.
func (m *measurement) line(r row) []string {
	other, with := m.other(r)
	before, after := m.figure(r.job("before"), r.of), m.figure(r.job("after"), r.of)
	ratio := func(x float64) string {
		switch {
		case r.against == nothing:
			return ""
		case r.peer:
			x, other := other, x
			return number(x / other)
		}
		return number(x / other)
	}
	return []string{r.name, with, number(other), number(before), number(after), ratio(before), ratio(after), r.target}
}

// number formats a figure; one that was not measured is not a number, or infinite.
func number(x float64) string {
	if !(x > 0 && x < 1e9) {
		return ""
	}
	return fmt.Sprintf("%.2f", x)
}
