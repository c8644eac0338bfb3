package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocbench"
	"github.com/seed-9a6c551e/offheap/slab"
)

// kindFlags are the flags that choose an allocator, one each; but -local and -zero go together.
var kindFlags = []struct {
	kind  allocators.Kind
	flag  string
	about string
}{
	{allocators.Local, "local", "time a slab.Local for each goroutine"},
	{allocators.Zero, "zero", "time a slab.Heap, or with -local a slab.Local, that hands out zeroed memory"},
	{allocators.Hardened, "hardened", "time a slab.Heap with Config.Hardened"},
	{allocators.Go, "goheap", "time the Go heap"},
}

func bench(args []string, stdout, stderr io.Writer) int {
	f := newFlags(benchUsage(), benchAbout(), stdout, stderr)
	kv := f.Bool("kv", false, "print lines of key=value, as the drivers for C allocators do")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	sample := f.Int("sample", 0, "put one allocation in `N` between guards (slab.SetSampling)")
	live := f.Int("live", allocbench.ChurnLive, "keep `N` objects live, on each goroutine")
	ops := f.Int("ops", 0, "replace, or hand over, `N` objects on each goroutine instead of as many as the label says")
	sizes := f.String("sizes", "", "the folder `DIR` with the tables tcmalloc_N.csv")
	for _, k := range kindFlags {
		f.Bool(k.flag, false, k.about)
	}
	f.VisitAll(func(g *flag.Flag) {
		if !forOutput(g.Name) {
			g.Usage += "; " + scope(g.Name)
		}
	})
	if status, ok := f.parse(args, 1); !ok {
		return status
	}
	label := f.Arg(0)
	c := findCase(label)
	every := strings.Join(labelsOf(func(*benchCase) bool { return true }), ", ")
	switch {
	case label == "":
		return f.refuse("which label? There are %s", every)
	case c == nil:
		return f.refuse("there is no label %q; there are %s", label, every)
	case *kv && *asJSON:
		return f.refuse("-kv and -json exclude each other")
	case *sample < 0:
		return f.refuse("-sample %d: it must not be negative", *sample)
	case *live < 1 || *live > math.MaxInt32:
		return f.refuse("-live %d: it must be from 1 to %d", *live, math.MaxInt32)
	case *ops < 0:
		return f.refuse("-ops %d: it must not be negative", *ops)
	}
	job := &benchJob{kind: c.kinds[0], live: *live, ops: *ops, sizes: *sizes}
	if why := c.choose(job, f.FlagSet, label); why != "" {
		return f.refuse("%s", why)
	}
	if c.needs == "sizes" {
		if err := checkFolder(*sizes); err != nil {
			return f.refuse("%v", err)
		}
	}
	old, _ := slab.SetSampling(slab.Sampling{Every: *sample})
	defer slab.SetSampling(old)

	var done func()
	job.progress, done = newProgress(stderr, "")
	job.warn = func(err error) { fmt.Fprintf(stderr, "%s: %v\n", f.Name(), err) }
	var all []result
	var printed error
	job.report = func(r result) {
		all = append(all, r)
		if *kv {
			done()
			printed = errors.Join(printed, printKeys(stdout, r))
		}
	}
	err := errors.Join(c.run(job), printed)
	done()
	switch {
	case err != nil:
	case *asJSON:
		measured := make([]any, len(all))
		for i, r := range all {
			measured[i] = r.measured
		}
		err = printJSON(stdout, map[string]any{"label": c.label, "allocator": job.kind, "sample": *sample, "results": measured})
	case !*kv:
		err = printRows(stdout, all)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

// choose sets the job's allocator by the flags that were given. If a flag does not apply to the
// benchmark, does not go with another, or is missing, it returns the reason; otherwise "". label is the
// benchmark's, as it was given.
func (c *benchCase) choose(job *benchJob, f *flag.FlagSet, label string) (refused string) {
	var given []string
	f.Visit(func(g *flag.Flag) {
		if g.Value.String() != g.DefValue {
			given = append(given, g.Name)
		}
	})
	for _, name := range given {
		if !forOutput(name) && !c.takes(name) {
			return fmt.Sprintf("-%s is not for %s: it is %s", name, label, scope(name))
		}
	}
	chosen := ""
	for _, k := range kindFlags {
		if !slices.Contains(given, k.flag) {
			continue
		}
		if chosen == "local" && k.flag == "zero" {
			job.kind = allocators.ZeroLocal
			continue
		}
		if chosen != "" {
			return fmt.Sprintf("-%s and -%s exclude each other", chosen, k.flag)
		}
		chosen, job.kind = k.flag, k.kind
	}
	if job.kind == allocators.Go && slices.Contains(given, "sample") {
		return "-sample is not for -goheap: it is only for slab's allocators"
	}
	if c.needs != "" && !slices.Contains(given, c.needs) {
		name, usage := flag.UnquoteUsage(f.Lookup(c.needs))
		usage, _, _ = strings.Cut(usage, ";") // the scope follows
		return fmt.Sprintf("%s needs -%s %s: %s", label, c.needs, name, usage)
	}
	return ""
}

// forOutput tells whether a flag is about the output, so that it applies to every benchmark.
func forOutput(flag string) bool { return flag == "kv" || flag == "json" }

// scope says which benchmarks a flag that is not about the output applies to.
func scope(flag string) string {
	with := labelsOf(func(c *benchCase) bool { return c.takes(flag) })
	without := labelsOf(func(c *benchCase) bool { return !c.takes(flag) })
	switch {
	case len(without) == 0:
		return "for all labels"
	case len(with) > len(without):
		return "for all labels but " + strings.Join(without, ", ")
	}
	return "only for " + strings.Join(with, ", ")
}

// benchUsage returns the first line of help.
func benchUsage() string {
	return "bench [[-local] [-zero] | -hardened | -goheap] [-sample N] [-live N] [-ops N] [-sizes DIR] [-kv | -json] LABEL"
}

// benchAbout returns the help of the command, made from the table.
func benchAbout() string {
	var b strings.Builder
	b.WriteString(`Runs a benchmark of an allocator and prints its figures: ns are nanoseconds for each
operation, MB are millions of bytes. Objects are of 16 to 4,096 bytes, 171 in the mean, where
the label does not say otherwise. Without a flag that names another allocator it measures a
slab.Heap that hands out memory as it comes, which is what malloc does; bump measures an
arena.Arena.

Labels, in parentheses those of the drivers for C allocators, which are accepted, too:
`)
	for _, c := range benchCases {
		name := c.label
		if c.old != "" {
			name += " (" + c.old + ")"
		}
		indent := "\n" + strings.Repeat(" ", 2+labelWidth)
		fmt.Fprintf(&b, "  %-*s%s\n", labelWidth, name, strings.ReplaceAll(c.about, "\n", indent))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// labelWidth is the width of the labels in the help.
const labelWidth = 23

// printKeys writes a result as a line of key=value.
func printKeys(w io.Writer, r result) error {
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
	_, err := fmt.Fprintln(w, strings.Join(words, " "))
	return err
}

// printRows writes all results as a table.
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
