package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/service"
)

func processors() int { return runtime.GOMAXPROCS(0) }

// serviceRow is a line of the table. of returns 0 if there is no figure.
type serviceRow struct {
	title string
	of    func(*service.Report) float64
	show  func(float64) string
}

// part is a part of the table.
type part struct {
	title string
	rows  []serviceRow
}

// latencyRows are the lines of a loop's percentiles.
func latencyRows(of func(*service.Report) *service.Latencies) []serviceRow {
	row := func(title string, get func(*service.Latencies) int64) serviceRow {
		return serviceRow{title, func(r *service.Report) float64 { return float64(get(of(r))) }, nanoseconds}
	}
	return []serviceRow{
		row("p50", func(l *service.Latencies) int64 { return l.P50 }),
		row("p99", func(l *service.Latencies) int64 { return l.P99 }),
		row("p99.9", func(l *service.Latencies) int64 { return l.P999 }),
		row("p99.99", func(l *service.Latencies) int64 { return l.P9999 }),
		row("max", func(l *service.Latencies) int64 { return l.Max }),
	}
}

// mebibytes shows bytes so that three services can be compared; -1 as unknown.
func mebibytes(n float64) string {
	if n < 0 {
		return "unknown"
	}
	return count(n/(1<<20)) + " MiB"
}

func perSecond(n float64) string { return humanize.SIWithDigits(n, 2, "") + "/s" }

// parts are the parts of the table, for a job.
func (j *compareJob) parts() []part {
	plenty := func(get func(*service.Plenty) float64) func(*service.Report) float64 {
		return func(r *service.Report) float64 {
			if r.Plenty == nil {
				return 0
			}
			return get(r.Plenty)
		}
	}
	closed := []serviceRow{{"requests", func(r *service.Report) float64 { return r.RequestsPerSecond }, perSecond}}
	closed = append(closed, latencyRows(func(r *service.Report) *service.Latencies { return &r.Latencies })...)
	closed = append(closed, serviceRow{"CPU a request", func(r *service.Report) float64 { return r.CPUPerRequest }, nanoseconds})
	parts := []part{
		{fmt.Sprintf("closed loop, %v", j.long), closed},
		{fmt.Sprintf("open loop, %s", perSecond(j.rate)), latencyRows(func(r *service.Report) *service.Latencies { return &r.OpenLoop })},
		{"both loops", []serviceRow{
			{"GC CPU", func(r *service.Report) float64 { return r.GCCPUSeconds }, seconds},
			{"GC cycles", func(r *service.Report) float64 { return float64(r.Cycles) }, count},
			{"one forced GC", func(r *service.Report) float64 { return r.ForcedGCSeconds }, seconds},
			{"peak RSS", func(r *service.Report) float64 { return float64(r.PeakRSSBytes) }, mebibytes},
		}},
		{"", []serviceRow{
			{"load", func(r *service.Report) float64 { return r.LoadSeconds }, seconds},
		}},
	}
	if j.limit > 0 {
		parts = append(parts, part{"closed loop, memory in plenty", []serviceRow{
			{"requests", plenty(func(p *service.Plenty) float64 { return p.RequestsPerSecond }), perSecond},
			{"p50", plenty(func(p *service.Plenty) float64 { return float64(p.P50) }), nanoseconds},
			{"p99.9", plenty(func(p *service.Plenty) float64 { return float64(p.P999) }), nanoseconds},
			{"max", plenty(func(p *service.Plenty) float64 { return float64(p.Max) }), nanoseconds},
			{"CPU a request", plenty(func(p *service.Plenty) float64 { return p.CPUPerRequest }), nanoseconds},
			{"GC cycles", plenty(func(p *service.Plenty) float64 { return float64(p.Cycles) }), count},
			{"peak RSS", plenty(func(p *service.Plenty) float64 { return float64(p.PeakRSSBytes) }), mebibytes},
		}})
	}
	return parts
}

// print writes the comparison as a table for people.
func (j *compareJob) print(w io.Writer, reports map[service.Side]*service.Report, search *service.Search, a *answers) error {
	box := "no limit"
	if j.limit > 0 {
		box = "a limit of " + mebibytes(float64(j.limit))
	}
	fmt.Fprintf(w, "%s entries with %s of keys and values; %d processors; each process with %s.\n\n",
		humanize.Comma(int64(j.entries)), mebibytes(float64(service.Payload(j.entries))), processors(), box)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\t", partWidth, "")
	for _, side := range sides {
		fmt.Fprintf(t, "%s\t", side)
	}
	fmt.Fprint(t, "offheap / go\toffheap / go_flat\t\n")
	for _, p := range j.parts() {
		j.printPart(t, p, reports)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range j.remarks(reports, search, a) {
		fmt.Fprintln(w, line)
	}
	return nil
}

// partWidth makes the titles equally wide: the table aligns to the right.
const partWidth = 32

// printPart writes a part of the table, if there is any figure for it.
func (j *compareJob) printPart(t io.Writer, p part, reports map[service.Side]*service.Report) {
	var lines strings.Builder
	for _, row := range p.rows {
		figures, some := map[service.Side]float64{}, false
		var cells strings.Builder
		for _, side := range sides {
			if r := reports[side]; r != nil {
				figures[side] = row.of(r)
			}
			if x := figures[side]; x != 0 {
				cells.WriteString(row.show(x))
				some = true
			}
			cells.WriteByte('\t')
		}
		if !some {
			continue
		}
		off := figures[service.OffHeap]
		fmt.Fprintf(&lines, "%-*s\t%s%s\t%s\t\n", partWidth, row.title, cells.String(), ratio(off, figures[service.GoMaps]), ratio(off, figures[service.GoFlat]))
	}
	if lines.Len() > 0 && p.title != "" {
		fmt.Fprintf(t, "%-*s\t\t\t\t\t\t\n", partWidth, "-- "+p.title)
	}
	fmt.Fprint(t, lines.String())
}

// remarks returns the sentences below the table.
func (j *compareJob) remarks(reports map[service.Side]*service.Report, search *service.Search, a *answers) (lines []string) {
	lines = append(lines, "")
	switch {
	case a.differ:
		lines = append(lines, "ANSWERS DIFFER.")
	case a.closed > 0:
		lines = append(lines, fmt.Sprintf("Compared %s answers of the closed loop and %s of the open loop: all equal.", humanize.Comma(a.closed), humanize.Comma(a.open)))
	}
	for _, side := range sides {
		r := reports[side]
		if r == nil {
			continue
		}
		if r.Open.Late {
			lines = append(lines, fmt.Sprintf("%s cannot keep up with the open loop: it was ended early.", side))
		}
		if j.limit > 0 && r.PeakRSSBytes > j.limit+j.limit/10 {
			lines = append(lines, fmt.Sprintf("%s does not fit into its limit, which Go may exceed: its collector runs all the time.", side))
		}
	}
	if r := reports[service.GoMaps]; r != nil && r.Plenty != nil && r.Plenty.Cycles == 0 {
		lines = append(lines, "With memory in plenty the loop was over before go had collected once: -limit 0 -seconds 20 shows collections.")
	}
	if search != nil {
		verdict := "needs a limit of %s to serve as many requests as offheap (%s)."
		if !search.Reached {
			verdict = "does not serve as many requests as offheap with a limit of %s, either (%s)."
		}
		lines = append(lines, "go "+fmt.Sprintf(verdict, mebibytes(float64(search.LimitBytes)), perSecond(search.RequestsPerSecond)))
	}
	return lines
}
