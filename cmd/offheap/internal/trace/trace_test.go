package trace

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/allocators"
)

// sharedInputs has recorded traces, on machines that have them.
const sharedInputs = "../../../../../shared"

// TestReplayTraces compares the totals of the recorded traces with a list, and replays them with all
// contents checked.
func TestReplayTraces(t *testing.T) {
	f, err := os.Open(filepath.Join(sharedInputs, "inputs/malloc/STATS.csv"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the recorded traces are not here: ../shared/inputs/malloc")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	columns := rows[0]
	for _, row := range rows[1:] {
		t.Run(filepath.Base(row[0]), func(t *testing.T) {
			known := map[string]int{}
			for i, column := range columns[1:] {
				known[column], _ = strconv.Atoi(row[i+1])
			}
			file, err := os.Open(filepath.Join(sharedInputs, row[0]))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			trace, err := Read(file)
			if err != nil {
				t.Fatal(err)
			}
			c := trace.count()
			for name, got := range map[string]int{
				"ops": c.Ops, "malloc": c.Malloc, "calloc": c.Calloc, "realloc": c.Realloc, "free": c.Free,
				"threads": c.Threads, "cross_thread_frees": c.CrossFrees, "aligned": c.Aligned, "zero_size": c.ZeroSize,
				"peak_live_objects": c.PeakObjects, "peak_live_bytes": c.PeakBytes, "total_bytes": c.TotalBytes,
				"live_at_end": c.LiveAtEnd, "distinct_sizes": c.DistinctSizes,
			} {
				if want := known[name]; got != want {
					t.Errorf("%s: %d, want %d", name, got, want)
				}
			}
			for _, how := range []Replay{{Kind: allocators.Heap}, {Kind: allocators.Go}, {Kind: allocators.Heap, Verify: true}, {Kind: allocators.Heap, Verify: true, Threads: true}, {Kind: allocators.Go, Verify: true}} {
				r, err := how.Run(trace)
				if err != nil || (r.HarnessSeconds > 0) != (!how.Verify && !how.Threads) {
					t.Errorf("%+v: %+v, %v", how, r, err)
				}
			}
		})
	}
}

func TestReadTrace(t *testing.T) {
	good := "op,thread,id,size,align\nm,7,5,100,0\nc,7,9,10,64\nr,8,5,200,0\nx,7,0,0,0\n\nf,8,9,0,0\n"
	trace, err := Read(strings.NewReader(good))
	if err != nil || trace.Objects != 2 || trace.Threads != 2 || len(trace.Ops) != 5 {
		t.Fatalf("%+v, %v", trace, err)
	}
	if op := trace.Ops[2]; op != (Op{Code: 'r', Thread: 1, Object: 0, Turn: 1, Size: 200, Was: 100}) {
		t.Errorf("%+v", op)
	}
	for line, want := range map[string]string{
		"":                                "there is no line",
		header + "\n":                     "there is no line",
		header + strings.Repeat("m", 1e5): "line 1 is too long",
		"m,1,2,3":                         "line 1: 4 fields",
		"q,1,2,3,0":                       `line 1: operation "q"`,
		"m,1,2,x,0":                       `line 1: size "x"`,
		"m,1,2,-1,0":                      `line 1: size "-1"`,
		"m,1,2,3,5":                       "line 1: alignment 5",
		"m,1,2,3,4294967296":              "line 1: alignment 4294967296 is above 1 GiB",
		"f,1,2,0,0":                       "line 1: object 2 was never allocated",
		"m,1,2,3,0\nm,1,2,3,0":            "line 2: object 2 is allocated a second time",
		"m,1,2,3,0\nf,1,2,0,0\nr,1,2,9,0": "line 3: object 2 was freed before",
	} {
		if _, err := Read(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	if _, err := Read(strings.NewReader("\x1f\x8bno gzip")); err == nil {
		t.Error("broken gzip")
	}
}

// counts are the totals of a trace.
type counts struct {
	Ops, Malloc, Calloc, Realloc, Free, Threads int
	CrossFrees, Aligned, ZeroSize               int
	PeakObjects, PeakBytes, TotalBytes          int
	LiveAtEnd, DistinctSizes                    int
}

// count adds up the totals of a trace.
func (t *Trace) count() (c counts) {
	sizes := make([]int, t.Objects)
	owners := make([]uint32, t.Objects)
	distinct := map[int]bool{}
	objects, bytes := 0, 0
	for _, op := range t.Ops {
		switch op.Code {
		case 'm', 'c', 'r':
			switch op.Code {
			case 'm':
				c.Malloc++
			case 'c':
				c.Calloc++
			case 'r':
				c.Realloc++
				objects--
				bytes -= sizes[op.Object]
			}
			if op.Align > 0 {
				c.Aligned++
			}
			if op.Size == 0 {
				c.ZeroSize++
			}
			distinct[op.Size] = true
			objects++
			bytes += op.Size
			c.TotalBytes += op.Size
			sizes[op.Object], owners[op.Object] = op.Size, op.Thread
			c.PeakObjects, c.PeakBytes = max(c.PeakObjects, objects), max(c.PeakBytes, bytes)
		case 'f':
			c.Free++
			objects--
			bytes -= sizes[op.Object]
			if owners[op.Object] != op.Thread {
				c.CrossFrees++
			}
		}
	}
	c.Ops, c.Threads, c.LiveAtEnd, c.DistinctSizes = len(t.Ops), t.Threads, objects, len(distinct)
	return c
}
