package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/guard"
)

// kindFlags are the flags that choose an allocator, one each.
var kindFlags = []struct {
	kind  allocators.Kind
	flag  string
	about string
}{
	{allocators.Local, "local", "time a slab.Local for each goroutine"},
	{allocators.Zero, "zero", "time a slab.Heap that hands out zeroed memory"},
	{allocators.Hardened, "hardened", "time a slab.Heap with Config.Hardened"},
	{allocators.Go, "goheap", "time the Go heap"},
}

func bench(args []string, stdout, stderr io.Writer) int {
	f := newFlags(benchUsage(), benchAbout(), stdout, stderr)
	kv := f.Bool("kv", false, "print lines of key=value, as the drivers for C allocators do")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	sample := f.Int("sample", 0, "put one allocation in `N` between guards (guard.Sample)")
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
	}
	job := &benchJob{kind: c.kinds[0], sizes: *sizes}
	if why := c.choose(job, f.FlagSet, label); why != "" {
		return f.refuse("%s", why)
	}
	if c.needs == "sizes" {
		if err := checkFolder(*sizes); err != nil {
			return f.refuse("%v", err)
		}
	}
	defer guard.Sample(guard.Sample(*sample))

	var done func()
	job.progress, done = newProgress(stderr, "")
	job.warn = func(err error) { fmt.Fprintf(stderr, "%s: %v\n", f.Name(), err) }
	var all []result
	job.report = func(r result) {
		all = append(all, r)
		if *kv {
			done()
			printKeys(stdout, r)
		}
	}
	err := c.run(job)
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

// choose sets the job's allocator by the flags that were given. It returns the reason if a flag does
// not apply to the benchmark, does not go with another, or is missing; "" if all is well. label is the
// benchmark's as it was given.
func (c *benchCase) choose(job *benchJob, f *flag.FlagSet, label string) (refused string) {
	chosen := "" // the flag of the kind
	given := func(name string) bool { g := f.Lookup(name); return g.Value.String() != g.DefValue }
	f.VisitAll(func(g *flag.Flag) {
		switch {
		case refused != "" || !given(g.Name) || forOutput(g.Name):
		case !c.takes(g.Name):
			refused = fmt.Sprintf("-%s is not for %s: it is %s", g.Name, label, scope(g.Name))
		}
	})
	for _, k := range kindFlags {
		switch {
		case refused != "" || !given(k.flag):
		case chosen != "":
			refused = fmt.Sprintf("-%s and -%s exclude each other", chosen, k.flag)
		default:
			chosen, job.kind = k.flag, k.kind
		}
	}
	switch {
	case refused != "":
	case given("sample") && job.kind == allocators.Go:
		refused = "-sample is not for -goheap, only for slab's allocators"
	case c.needs != "" && !given(c.needs):
		name, usage := flag.UnquoteUsage(f.Lookup(c.needs))
		usage, _, _ = strings.Cut(usage, ";") // what follows is its scope
		refused = fmt.Sprintf("%s needs -%s %s: %s", label, c.needs, name, usage)
	}
	return refused
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
	var kinds []string
	for _, k := range kindFlags {
		kinds = append(kinds, "-"+k.flag)
	}
	return fmt.Sprintf("bench [%s] [-sample N] [-sizes DIR] [-kv | -json] LABEL", strings.Join(kinds, " | "))
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
