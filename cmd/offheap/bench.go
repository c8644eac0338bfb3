package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

const benchAbout = `Runs a benchmark of an allocator and prints nanoseconds for each operation.

Labels:
  C5   the arena: allocate objects of 16, 32 and 64 bytes and write to each; in 1 MiB that
       is in the cache (hot), in 256 MiB of fresh memory (fresh), in the same again after
       a reset (reset), and in fresh memory with huge pages (thp)`

func bench(args []string, stdout, stderr io.Writer) int {
	f := newFlags("bench [-kv | -json] LABEL", benchAbout, stdout, stderr)
	kv := f.Bool("kv", false, "print lines of key=value, as the drivers for other allocators do")
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	if status, ok := f.parse(args, 1); !ok {
		return status
	}
	switch {
	case f.NArg() == 0:
		return f.refuse("which label?")
	case f.Arg(0) != "C5":
		return f.refuse("there is no label %q", f.Arg(0))
	case *kv && *asJSON:
		return f.refuse("-kv and -json exclude each other")
	}
	show, done := newProgress(stderr, "")
	var all []workload.Bump
	err := workload.MeasureBump(show, func(b workload.Bump) {
		all = append(all, b)
		if *kv {
			done()
			fmt.Fprintf(stdout, "size=%d hot=%.2f fresh256M=%.2f reset256M=%.2f thp256M=%.2f\n", b.Size, b.Hot, b.Fresh, b.Reset, b.Huge)
		}
	})
	done()
	if err == nil && *asJSON {
		err = printJSON(stdout, map[string]any{"label": f.Arg(0), "results": all})
	} else if err == nil && !*kv {
		err = printBumps(stdout, all)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

func printBumps(w io.Writer, all []workload.Bump) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "ns per object\thot\tfresh 256 MiB\tafter reset\thuge pages\t\n")
	for _, b := range all {
		fmt.Fprintf(t, "%d bytes\t%.2f\t%.2f\t%.2f\t%.2f\t\n", b.Size, b.Hot, b.Fresh, b.Reset, b.Huge)
	}
	return t.Flush()
}
