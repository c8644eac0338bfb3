package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/stackbench"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

const stacksAbout = `Opens N stacks, touches an OS page of each, and holds them all. Does so for four kinds, each
in a process of its own: stacks of package stack; the same with inaccessible OS pages as
guards, as many as the process may have; goroutines that wait; and, if the command was built
with cgo, threads of C that wait, 10,000 at most, with stacks no smaller than the system
allows. Then it times the operations on a stack of the first kind. A million stacks take
4 GB.`

// stacksSideCommand measures one kind of stacks in a process of its own.
const stacksSideCommand = "stacks-side"

// The kinds of stacks, by name.
const (
	ofStacks     = "stacks"
	ofGoroutines = "goroutines"
	ofPthreads   = "pthreads"
)

// mostPthreads is enough for a figure. The system takes a while for each.
const mostPthreads = 10_000

// stacksJob is the input of a child.
type stacksJob struct {
	Side    string
	N, Size int
}

// stacksReport has the figures that -json prints.
type stacksReport struct {
	SizeBytes int `json:"size_bytes"`
	stackbench.Figures
	Mprotect   *stackbench.Figures `json:"mprotect"`
	Goroutines *stackbench.Figures `json:"goroutines"`
	Pthreads   *stackbench.Figures `json:"pthreads,omitempty"`
}

func stacks(args []string, stdout, stderr io.Writer) int {
	f := newFlags("stacks [-n N] [-size BYTES] [-json]", stacksAbout, stdout, stderr)
	n := f.Int("n", 1_000_000, "hold `N` stacks")
	size := f.Int("size", 64<<10, "`BYTES` of each stack")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	v := vm.Probe()
	ram := memory()
	switch {
	case *n <= 0:
		return f.refuse("-n %d must be positive", *n)
	case *size < v.PageSize || *size > 1<<30:
		return f.refuse("-size %d must be from an OS page, %d bytes, to 1 GiB", *size, v.PageSize)
	case uint64(*n) > ram/4*3/uint64(v.PageSize):
		return f.refuse("-n %d: an OS page each is more than three quarters of the memory that there is, %s", *n, humanize.IBytes(ram))
	}
	r := stacksReport{SizeBytes: *size}
	for _, side := range []struct {
		to  **stackbench.Figures
		job stacksJob
		env string
	}{
		{nil, stacksJob{ofStacks, *n, *size}, ""},
		{&r.Mprotect, stacksJob{ofStacks, *n, *size}, "OFFHEAP_GUARDS=mprotect"},
		{&r.Goroutines, stacksJob{ofGoroutines, *n, *size}, ""},
		{&r.Pthreads, stacksJob{ofPthreads, min(*n, mostPthreads), *size}, ""},
	} {
		if side.job.Side == ofPthreads && !stackbench.Cgo {
			continue
		}
		figures, err := inChild[stackbench.Figures]([]string{stacksSideCommand}, side.job, stderr, side.env)
		switch {
		case err != nil:
			return f.fail(fmt.Errorf("%s: %w", side.job.Side, err))
		case side.to == nil:
			r.Figures = *figures
		default:
			*side.to = figures
		}
	}
	err := error(nil)
	if *asJSON {
		err = printJSON(stdout, r)
	} else {
		err = r.print(stdout)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

func stacksSide(args []string, stdout, stderr io.Writer) int {
	f := newFlags(stacksSideCommand, "Started by stacks.", stdout, stderr)
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	return answer(f, "job", "", (*stacksJob).run)
}

func (job *stacksJob) run(progress measure.Progress) (out *stackbench.Figures, err error) {
	switch job.Side {
	case ofGoroutines:
		return stackbench.Goroutines(job.N, progress), nil
	case ofPthreads:
		return stackbench.Pthreads(job.N, job.Size, progress)
	}
	return stackbench.Stacks(job.N, job.Size, progress)
}

// print writes the tables for people.
func (r *stacksReport) print(w io.Writer) error {
	fmt.Fprintf(w, "Stacks of %s, an OS page of %s touched in each, all held.\n\n", humanize.IBytes(uint64(r.SizeBytes)), humanize.IBytes(uint64(guard.PageSize())))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	columns := []struct {
		title string
		*stackbench.Figures
	}{{"offheap", &r.Figures}, {"mprotect guards", r.Mprotect}, {"goroutines", r.Goroutines}, {"pthreads", r.Pthreads}}
	if r.Pthreads == nil {
		columns = columns[:3]
	}
	fmt.Fprintf(t, "%-*s\t", titleWidth, "")
	for _, c := range columns {
		fmt.Fprintf(t, "%s\t", c.title)
	}
	fmt.Fprintln(t)
	for _, row := range []struct {
		title string
		show  func(f *stackbench.Figures) string
	}{
		{"stacks", func(f *stackbench.Figures) string { return count(float64(f.Stacks)) }},
		{"time for each", func(f *stackbench.Figures) string { return nanoseconds(f.NsPerStack) }},
		{"mappings", func(f *stackbench.Figures) string { return known(f.Mappings > 0, count(float64(f.Mappings))) }},
		{"RSS", func(f *stackbench.Figures) string { return known(f.RSSBytes > 0, size(f.RSSBytes)) }},
		{"page tables", func(f *stackbench.Figures) string { return known(f.RSSBytes > 0, size(f.PageTableBytes)) }},
		{"both, for each", func(f *stackbench.Figures) string {
			return size((f.RSSBytes + f.PageTableBytes) / int64(max(f.Stacks, 1)))
		}},
	} {
		fmt.Fprintf(t, "%-*s\t", titleWidth, row.title)
		for _, c := range columns {
			fmt.Fprintf(t, "%s\t", row.show(c.Figures))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.RSSBytes > 0 {
		fmt.Fprintf(w, "\nBeyond touched pages and page tables offheap takes %.0f bytes for each stack.\n", r.Overhead)
	}
	if r.Mprotect.Limit != "" {
		fmt.Fprintf(w, "With mprotect guards: %s\n", r.Mprotect.Limit)
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		title string
		ns    float64
		note  string
	}{
		{"Get and Put", r.GetPut, ""},
		{"by two goroutines", r.GetPut2, ratio(r.GetPut, r.GetPut2)},
		{"Push and Pop", r.PushPop, ""},
		{"New of 32 bytes", r.New, ""},
		{"the same, arena", r.ArenaNew, ratio(r.ArenaNew, r.New)},
		{"Call", r.Call, ""},
		{"a call of cgo's", r.CgoCall, ratio(r.CgoCall, r.Call)},
		{"overflow to error", r.Overflow, ""},
	} {
		if row.ns > 0 {
			fmt.Fprintf(t, "%-*s\t%s\t%s\t\n", titleWidth, row.title, nanoseconds(row.ns), row.note)
		}
	}
	return t.Flush()
}

// known returns the figure; "unknown" if the system did not tell.
func known(told bool, figure string) string {
	if told {
		return figure
	}
	return "unknown"
}
