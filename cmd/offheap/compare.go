package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/service"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

const compareAbout = `Runs the same service three times, each time in a process of its own, with all processors and the
same memory limit (GOMEMLIMIT; off the heap the budget, too):

  go       Go's maps in shards, pointers to entries
  go_flat  Go without pointers: keys and values padded to the largest
  offheap  package cache

90 % of the requests read a value, 10 % replace one. Each makes its answer, JSON, on the Go heap. First
each processor serves one request after the other. Then requests are due at a fixed rate, and their
latency counts from that time on. In the end the first loop is repeated without a limit (not with
-json). The answers of the three services are compared: the exit status is 1 if any differ.

Keys have 16 to 40 bytes, all lengths equally often. Values have 20 to 400 bytes, with the sizes of
Meta's cache workload kvcache_reg, as CacheLib publishes them. The default limit is the bytes of all keys
and values times 2.1, and 32 MiB for the program: a box which Go's maps fill to two thirds.

An interrupt ends the run, and prints what there is. "offheap compare index" is another comparison.`

// compareSideCommand measures one service in a process of its own.
const compareSideCommand = "compare-side"

// The default box, and the smallest that holds the entries off the heap, as multiples of the payload.
const (
	boxFactor   = 2.1
	leastFactor = 1.4
)

// mostEntryBytes bounds the memory of an entry in all services: that of go_flat without a limit, before a collection.
const mostEntryBytes = 1200

// comparison has the figures of all services, as -json prints them. A service that was not measured is nil.
type comparison struct {
	Go           *service.Figures `json:"go"`
	GoFlat       *service.Figures `json:"go_flat"`
	OffHeap      *service.Figures `json:"offheap"`
	AnswersEqual bool             `json:"answers_equal"`
	Entries      int              `json:"entries"`
	Search       *service.Search  `json:"search,omitempty"`
	Error        string           `json:"error,omitempty"`
}

// sides are the services in the order in which they run.
var sides = []service.Side{service.GoMaps, service.GoFlat, service.OffHeap}

// compareJob is the command line of compare.
type compareJob struct {
	entries        int
	limit          int64 // 0 for none
	rate           float64
	long           time.Duration
	asJSON, search bool
}

func compare(args []string, stdout, stderr io.Writer) int {
	ram := memory()
	entries := min(4_000_000, max(100_000, int(ram/4*3/mostEntryBytes)))
	procs := processors()
	f := newFlags("compare [-entries N] [-limit BYTES] [-rate N] [-seconds S] [-search] [-json]", compareAbout, stdout, stderr)
	f.jsonErrors = slices.Contains(args, "-json") || slices.Contains(args, "--json")
	j := compareJob{}
	f.IntVar(&j.entries, "entries", entries, "hold `N` entries")
	limit := f.String("limit", "", "give each process so many `BYTES`, as 1200MiB; 0 for no limit (default: by the entries)")
	f.Float64Var(&j.rate, "rate", 50_000*float64(procs), "`N` requests a second are due in the open loop")
	seconds := f.Float64("seconds", 1.5, "the closed loop takes `S` seconds, the others half of it")
	f.BoolVar(&j.search, "search", false, "search for the limit at which go serves as many requests as offheap; takes a minute or two")
	f.BoolVar(&j.asJSON, "json", false, "print one JSON object instead of a table")
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	f.jsonErrors = j.asJSON
	switch {
	case j.entries < 1000:
		return f.refuse("-entries %d: there must be 1000 or more", j.entries)
	case uint64(j.entries) > ram/4*3/mostEntryBytes:
		return f.refuse("-entries %d: %d bytes each are more than three quarters of the memory that there is, %s", j.entries, mostEntryBytes, humanize.IBytes(ram))
	case !(j.rate >= 1 && j.rate <= 1e9):
		return f.refuse("-rate %v must be from 1 to 1e9", j.rate)
	case !(*seconds >= 0.1 && *seconds <= 3600):
		return f.refuse("-seconds %v must be from 0.1 to 3600", *seconds)
	}
	j.long = time.Duration(*seconds * float64(time.Second))
	payload := float64(service.Payload(j.entries))
	if j.limit = int64(payload*boxFactor) + service.OwnMemory; *limit != "" {
		bytes, err := humanize.ParseBytes(*limit)
		least := uint64(payload*leastFactor) + service.OwnMemory
		switch {
		case err != nil:
			return f.refuse("-limit %q: %v", *limit, err)
		case bytes > 0 && bytes < least:
			return f.refuse("-limit %s: %s entries need %s", *limit, humanize.Comma(int64(j.entries)), humanize.IBytes(least))
		case bytes > ram:
			return f.refuse("-limit %s is more than the memory that there is, %s", *limit, humanize.IBytes(ram))
		}
		j.limit = int64(bytes)
	}
	if j.search && j.limit == 0 {
		return f.refuse("-search needs a limit to begin with")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second) // some senders interrupt the process and its group
		cancel()                // another interrupt ends the program
	})
	return f.compareServices(ctx, &j)
}

// compareServices measures all services and reports. When ctx is done it reports what there is.
func (f *flags) compareServices(ctx context.Context, j *compareJob) int {
	reports := map[service.Side]*service.Report{}
	var search *service.Search
	err := func() error {
		for _, side := range sides {
			r, err := j.inSide(ctx, f.stderr, j.job(side))
			if r != nil && r.RequestsPerSecond > 0 {
				reports[side] = r
			}
			if err != nil {
				return err
			}
		}
		if !j.search {
			return nil
		}
		job := j.job(service.GoMaps)
		job.Target, job.Most = reports[service.OffHeap].RequestsPerSecond, min(4*j.limit, int64(memory()/4*3))
		r, err := j.inSide(ctx, f.stderr, job)
		if r != nil {
			search = r.Search
		}
		return err
	}()
	return f.reportServices(j, reports, search, err)
}

// job returns what to measure of one service.
func (j *compareJob) job(side service.Side) *service.Job {
	return &service.Job{
		Side: side, Entries: j.entries, Limit: j.limit, Rate: j.rate, Long: j.long,
		Plenty: !j.asJSON && j.limit > 0,
	}
}

var errInterrupted = errors.New("interrupted")

// inSide runs a job in a process of its own. There may be figures beside an error.
func (j *compareJob) inSide(ctx context.Context, stderr io.Writer, job *service.Job) (*service.Report, error) {
	r, err := inChildUntil[service.Report](ctx, []string{compareSideCommand}, job, stderr, job.Environment()...)
	switch {
	case ctx.Err() != nil, r != nil && r.Interrupted:
		return r, errInterrupted
	case err != nil:
		return nil, fmt.Errorf("%s: %w", job.Side, err)
	case r.Error != "":
		return r, fmt.Errorf("%s: %s", job.Side, r.Error)
	}
	return r, nil
}

func compareSide(args []string, stdout, stderr io.Writer) int {
	f := newFlags(compareSideCommand, "Started by compare.", stdout, stderr)
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	// The progress of all services stands in one line, so it begins with the service.
	return answerAs(f, "job", func(j *service.Job) string { return string(j.Side) + ": " }, service.Measure)
}

// reportServices prints the comparison, and fails if there is an error or answers differ.
func (f *flags) reportServices(j *compareJob, reports map[service.Side]*service.Report, search *service.Search, err error) int {
	var answers answers
	differ := answers.compare(reports)
	err = errors.Join(err, differ)
	if j.asJSON {
		c := comparison{AnswersEqual: differ == nil, Entries: j.entries, Search: search}
		for side, to := range map[service.Side]**service.Figures{service.GoMaps: &c.Go, service.GoFlat: &c.GoFlat, service.OffHeap: &c.OffHeap} {
			if r := reports[side]; r != nil {
				*to = &r.Figures
			}
		}
		if err != nil {
			c.Error = err.Error()
		}
		f.jsonErrors = false // the object has the error
		err = errors.Join(err, printJSON(f.stdout, c))
	} else if len(reports) > 0 {
		err = errors.Join(err, j.print(f.stdout, reports, search, &answers))
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

// answers counts the answers that were compared, by loop.
type answers struct {
	closed, open int64
	differ       bool
}

// compare compares the answers of all services, and returns an error that names two which differ.
func (a *answers) compare(reports map[service.Side]*service.Report) error {
	for i, x := range sides {
		for _, y := range sides[i+1:] {
			if reports[x] == nil || reports[y] == nil {
				continue
			}
			closed, equal := reports[x].Closed.Compare(&reports[y].Closed)
			open, equalOpen := reports[x].Open.Compare(&reports[y].Open)
			if !equal || !equalOpen {
				a.differ = true
				return fmt.Errorf("answers of %s and %s differ", x, y)
			}
			a.closed, a.open = max(a.closed, closed), max(a.open, open)
		}
	}
	return nil
}

// memory returns how many bytes of memory there are.
func memory() uint64 {
	v := vm.Probe()
	return min(or(v.PhysicalSize, vm.Unlimited), v.CgroupLimit)
}
