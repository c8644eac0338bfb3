package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/service"
)

// small makes a comparison of a second or two.
var small = strings.Fields("compare -entries 20000 -seconds 0.2 -rate 5000")

// keysOf returns the names of an object's fields, sorted.
func keysOf(object any) []string {
	fields, _ := object.(map[string]any)
	return slices.Sorted(maps.Keys(fields))
}

func words(text string) []string { return slices.Sorted(slices.Values(strings.Fields(text))) }

// TestCompareJSON runs all services with few entries.
func TestCompareJSON(t *testing.T) {
	status, stdout, stderr := runs(append(slices.Clone(small), "-json")...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(got); !slices.Equal(keys, words("go go_flat offheap answers_equal entries")) {
		t.Errorf("the object has %v", keys)
	}
	if got["answers_equal"] != true || got["entries"] != 20000. {
		t.Errorf("answers equal: %v, entries: %v", got["answers_equal"], got["entries"])
	}
	latencies := "p50_ns p99_ns p999_ns p9999_ns max_ns"
	for _, side := range sides {
		figures, _ := got[string(side)].(map[string]any)
		want := words("limit_bytes ops_per_second cpu_ns_per_op gc_cpu_seconds forced_gc_seconds peak_rss_bytes open_loop series " + latencies)
		if keys := keysOf(figures); !slices.Equal(keys, want) {
			t.Errorf("%s has %v, want %v", side, keys, want)
		}
		if keys := keysOf(figures["open_loop"]); !slices.Equal(keys, words(latencies)) {
			t.Errorf("%s: open_loop has %v", side, keys)
		}
		for _, key := range strings.Fields("limit_bytes ops_per_second cpu_ns_per_op forced_gc_seconds " + latencies) {
			if x, _ := figures[key].(float64); x <= 0 {
				t.Errorf("%s: %s is %v", side, key, figures[key])
			}
		}
		if series, _ := figures["series"].([]any); len(series) != 3 || !slices.Equal(keysOf(series[0]), words("ops max_ns")) {
			t.Errorf("%s: series is %v", side, series)
		}
	}
}

// TestCompareTable runs all services with few entries, and one more search.
func TestCompareTable(t *testing.T) {
	status, stdout, stderr := runs(append(slices.Clone(small), "-search")...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	j := compareJob{limit: 1}
	for _, p := range j.parts() {
		for _, row := range p.rows {
			if !strings.HasPrefix(row.title, "GC ") && !strings.Contains(stdout, "   "+row.title+" ") {
				t.Errorf("no line for %q", row.title)
			}
		}
	}
	for _, want := range []string{"20,000 entries with ", "offheap / go_flat", "memory in plenty", ": all equal.", "as many requests as offheap"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
}

// TestCompareWithoutLimit has no second loop: the first is without a limit already.
func TestCompareWithoutLimit(t *testing.T) {
	status, stdout, stderr := runs(append(slices.Clone(small), "-limit", "0")...)
	if status != 0 || stderr != "" || !strings.Contains(stdout, "each process with no limit") || strings.Contains(stdout, "plenty") {
		t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
	}
}

// TestCompareErrorsAreJSON refuses command lines, and lets a service fail.
func TestCompareErrorsAreJSON(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"compare -json -fast", "-fast"},
		{"compare -fast --json", "-fast"},
		{"compare -json -entries 1", "-entries 1"},
		{"compare -json here", `"here"`},
	} {
		status, stdout, stderr := runs(strings.Fields(c.args)...)
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 2 || !strings.Contains(got.Error, c.says) || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d, stdout %q (%v), stderr %q", c.args, status, stdout, err, stderr)
		}
	}
	var stdout, stderr bytes.Buffer
	f := newFlags("compare", "", &stdout, &stderr)
	f.jsonErrors = true
	j := &compareJob{entries: 5, asJSON: true}
	status := f.reportServices(j, map[service.Side]*service.Report{service.GoMaps: {}}, nil, errors.New("go_flat: no memory"))
	var got map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || status != 1 || got["error"] != "go_flat: no memory" || got["go"] == nil || got["offheap"] != nil {
		t.Errorf("status %d, stdout %s (%v)", status, stdout.String(), err)
	}
}

// TestCompareFailsWhereAnswersDiffer makes the answers of one service differ.
func TestCompareFailsWhereAnswersDiffer(t *testing.T) {
	report := func(sum uint64) *service.Report {
		r := &service.Report{Closed: service.Loop{Sums: []service.Sums{{Sum: sum, Answers: 1}}}}
		r.RequestsPerSecond = 1
		return r
	}
	reports := map[service.Side]*service.Report{service.GoMaps: report(1), service.GoFlat: report(1), service.OffHeap: report(2)}
	for _, asJSON := range []bool{true, false} {
		var stdout, stderr bytes.Buffer
		f := newFlags("compare", "", &stdout, &stderr)
		status := f.reportServices(&compareJob{entries: 5, asJSON: asJSON}, reports, nil, nil)
		if out := stdout.String(); status != 1 || !strings.Contains(out, `"answers_equal": false`) && !strings.Contains(out, "ANSWERS DIFFER") {
			t.Errorf("status %d, printed %s", status, out)
		}
		if !strings.Contains(stderr.String(), "go and offheap differ") {
			t.Errorf("stderr %q", stderr.String())
		}
	}
}

// TestCompareInterrupted interrupts the first service, in whatever it does: the command ends, and says so.
func TestCompareInterrupted(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		var stdout, stderr bytes.Buffer
		f := newFlags("compare", "", &stdout, &stderr)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		status := f.compareServices(ctx, &compareJob{entries: 20_000, rate: 100, long: time.Hour, asJSON: asJSON})
		if status != 1 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("status %d, stderr %q", status, stderr.String())
		}
		if asJSON {
			var got map[string]any
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got["error"] != "interrupted" {
				t.Errorf("%v: printed %s", err, stdout.String())
			}
		}
	}
}

// TestCompareInPart prints the figures of the only service that was measured, and no more than there is of them.
func TestCompareInPart(t *testing.T) {
	r := &service.Report{LoadSeconds: 1.5}
	r.RequestsPerSecond = 1000
	r.P50 = 2000
	var stdout, stderr bytes.Buffer
	f := newFlags("compare", "", &stdout, &stderr)
	status := f.reportServices(&compareJob{entries: 5, limit: 1}, map[service.Side]*service.Report{service.GoMaps: r}, nil, errInterrupted)
	out := stdout.String()
	if status != 1 || !strings.Contains(out, "1 k/s") || !strings.Contains(out, "2 µs") || !strings.Contains(out, "1.5 s") {
		t.Errorf("status %d, printed %s", status, out)
	}
	for _, line := range []string{"open loop", "plenty", "Compared"} {
		if strings.Contains(out, line) {
			t.Errorf("there is a line with %q in %s", line, out)
		}
	}
}
