package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/index"
)

// print writes the indexComparison as a table for people.
func (c *indexComparison) print(w io.Writer) error {
	fmt.Fprintf(w, "Documents: %s, %s. Queries: %s, %s.\n\n", humanize.Comma(int64(c.Documents)), size(c.InputBytes),
		humanize.Comma(int64(c.Queries)), map[bool]string{true: "all answers equal", false: "ANSWERS DIFFER"}[c.AnswersEqual])
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\tGo heap\toffheap\tGo / off\t\n", titleWidth, "")
	for _, r := range indexRows {
		a, b := r.of(&c.GoHeap), r.of(&c.OffHeap)
		fmt.Fprintf(t, "%-*s\t%s\t%s\t%s\t\n", titleWidth, r.title, r.show(a), r.show(b), ratio(a, b))
	}
	return t.Flush()
}

// titleWidth makes the titles equally wide: the table aligns to the right.
const titleWidth = 20

// indexRow is a line of the table.
type indexRow struct {
	title string
	of    func(*index.Figures) float64
	show  func(float64) string
}

var indexRows = []indexRow{
	{"build", func(f *index.Figures) float64 { return f.BuildSeconds }, seconds},
	{"live Go objects", func(f *index.Figures) float64 { return float64(f.LiveObjects) }, count},
	{"GC cycles", func(f *index.Figures) float64 { return float64(f.GCCycles) }, count},
	{"GC CPU", func(f *index.Figures) float64 { return f.GCCPUSeconds }, seconds},
	{"one forced GC", func(f *index.Figures) float64 { return f.ForcedGCSeconds }, seconds},
	{"world stopped, total", func(f *index.Figures) float64 { return f.STWTotalSeconds }, seconds},
	{"world stopped, worst", func(f *index.Figures) float64 { return f.STWWorstSeconds }, seconds},
	{"query p50", func(f *index.Figures) float64 { return float64(f.QueryP50) }, nanoseconds},
	{"query p99", func(f *index.Figures) float64 { return float64(f.QueryP99) }, nanoseconds},
	{"query p99.9", func(f *index.Figures) float64 { return float64(f.QueryP999) }, nanoseconds},
	{"query max", func(f *index.Figures) float64 { return float64(f.QueryMax) }, nanoseconds},
	{"Go heap", func(f *index.Figures) float64 { return float64(f.GoHeapBytes) }, sized},
	{"off-heap reserved", func(f *index.Figures) float64 { return float64(f.ReservedBytes) }, sized},
	{"off-heap committed", func(f *index.Figures) float64 { return float64(f.CommittedBytes) }, sized},
	{"off-heap resident", func(f *index.Figures) float64 { return float64(f.ResidentBytes) }, sized},
	{"off-heap live", func(f *index.Figures) float64 { return float64(f.LiveBytes) }, sized},
	{"peak RSS", func(f *index.Figures) float64 { return float64(f.PeakRSSBytes) }, sized},
}

func seconds(s float64) string { return humanize.SIWithDigits(s, 2, "s") }

func nanoseconds(ns float64) string { return seconds(ns / float64(time.Second)) }

func count(n float64) string { return humanize.Comma(int64(n)) }

func sized(n float64) string { return size(int64(n)) }

// size shows bytes; -1 as unknown.
func size(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return humanize.IBytes(uint64(n))
}

// ratio shows a over b; nothing if either is 0 or less.
func ratio(a, b float64) string {
	if a <= 0 || b <= 0 {
		return ""
	}
	return humanize.FormatFloat("#,###.##", a/b) + " ×"
}
