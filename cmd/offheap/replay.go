package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/trace"
)

const replayAbout = `Replays recorded traces of malloc and free through a slab.Heap and through the Go heap, each in a
process of its own, and prints time, the work of the collector, and memory. The harness's own part
of the time is that of a replay with an allocator that does nothing; it is not known with -threads and
-verify.

A trace has a line of op,thread,id,size,align for each call. op is m for malloc, c for calloc,
r for realloc, f for free, x for the end of a thread. No id is used twice. align 0 is the default.
A trace may be compressed by gzip. The FILE - is the standard input.`

// replaySideCommand replays one trace through one allocator in a process of its own.
const replaySideCommand = "replay-side"

// replayed has the figures of one trace, as -json prints them.
type replayed struct {
	Trace   string          `json:"trace"`
	Ops     int             `json:"ops"`
	Objects int             `json:"objects"`
	Threads int             `json:"threads"`
	GoHeap  *trace.Replayed `json:"go_heap"`
	OffHeap *trace.Replayed `json:"offheap"`
}

// replayJob is the input of a child.
type replayJob struct {
	How   trace.Replay
	Trace *trace.Trace
}

func replay(args []string, stdout, stderr io.Writer) int {
	f := newFlags("replay [-threads] [-verify] [-kv | -json] FILE...", replayAbout, stdout, stderr)
	threads := f.Bool("threads", false, "run each thread of the trace on a goroutine of its own, instead of all on one")
	verify := f.Bool("verify", false, "fill every object, and check its bytes when it is freed")
	kv := f.Bool("kv", false, "print lines of key=value, as the driver for C allocators does, one for each allocator")
	asJSON := f.Bool("json", false, "print one JSON object instead of tables")
	if status, ok := f.parse(args, 1000); !ok {
		return status
	}
	if f.NArg() == 0 {
		return f.refuse("which trace? Name a FILE, or - for the standard input")
	}
	if *kv && *asJSON {
		return f.refuse("-kv and -json exclude each other")
	}
	show := (*replayed).print
	if *kv {
		show = (*replayed).printKeys
	}
	var all []replayed
	for _, name := range f.Args() {
		t, err := readTrace(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return f.refuse("there is no file %q", name)
		case errors.Is(err, syscall.EISDIR):
			return f.refuse("%q is a folder", name)
		}
		if err != nil {
			return f.fail(fmt.Errorf("%s: %w", name, err))
		}
		out := replayed{Trace: name, Ops: len(t.Ops), Objects: t.Objects, Threads: t.Threads}
		for kind, to := range map[allocators.Kind]**trace.Replayed{allocators.Go: &out.GoHeap, allocators.Heap: &out.OffHeap} {
			job := replayJob{trace.Replay{Kind: kind, Threads: *threads, Verify: *verify}, t}
			if *to, err = inChild[trace.Replayed]([]string{replaySideCommand}, job, stderr); err != nil {
				return f.fail(fmt.Errorf("%s: %w", name, err))
			}
		}
		all = append(all, out)
		if !*asJSON {
			if err := show(&out, stdout); err != nil {
				return f.fail(err)
			}
		}
	}
	if *asJSON {
		if err := printJSON(stdout, map[string]any{"replays": all}); err != nil {
			return f.fail(err)
		}
	}
	return statusOK
}

// readTrace reads the trace of a name on the command line.
func readTrace(name string) (*trace.Trace, error) {
	if name == "-" {
		return trace.Read(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return trace.Read(file)
}

// print writes a table for people.
func (r *replayed) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s operations on %s objects, %s threads.\n\n", r.Trace,
		humanize.Comma(int64(r.Ops)), humanize.Comma(int64(r.Objects)), humanize.Comma(int64(r.Threads)))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\tGo heap\toffheap\tGo / off\t\n", titleWidth, "")
	for _, line := range []struct {
		title string
		of    func(*trace.Replayed) float64
		show  func(float64) string
	}{
		{"time", func(x *trace.Replayed) float64 { return x.Seconds }, seconds},
		{"of it the harness", func(x *trace.Replayed) float64 { return x.HarnessSeconds }, seconds},
		{"GC cycles", func(x *trace.Replayed) float64 { return float64(x.GCCycles) }, count},
		{"GC CPU", func(x *trace.Replayed) float64 { return x.GCCPUSeconds }, seconds},
		{"world stopped, total", func(x *trace.Replayed) float64 { return x.STWTotalSeconds }, seconds},
		{"off-heap live", func(x *trace.Replayed) float64 { return float64(x.LiveBytes) }, sized},
		{"peak RSS", func(x *trace.Replayed) float64 { return float64(x.PeakRSS) }, sized},
	} {
		a, b := line.of(r.GoHeap), line.of(r.OffHeap)
		if line.title == "of it the harness" && a == 0 {
			continue
		}
		fmt.Fprintf(t, "%-*s\t%s\t%s\t%s\t\n", titleWidth, line.title, line.show(a), line.show(b), ratio(a, b))
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// printKeys writes a line of key=value for each allocator.
func (r *replayed) printKeys(w io.Writer) error {
	for _, x := range []struct {
		kind allocators.Kind
		*trace.Replayed
	}{{allocators.Go, r.GoHeap}, {allocators.Heap, r.OffHeap}} {
		_, err := fmt.Fprintf(w, "allocator=%s ms=%.3f harness_ms=%.3f peak_MB=%.3f ops=%d objects=%d\n", x.kind,
			x.Seconds*1e3, x.HarnessSeconds*1e3, float64(x.PeakRSS)/1e6, r.Ops, r.Objects)
		if err != nil {
			return err
		}
	}
	return nil
}

func replaySide(args []string, stdout, stderr io.Writer) int {
	f := newFlags(replaySideCommand, "Started by replay.", stdout, stderr)
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	return answer(f, "trace", "", func(job *replayJob, _ measure.Progress) (trace.Replayed, error) {
		return job.How.Run(job.Trace)
	})
}
