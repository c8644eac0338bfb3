package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/index"
)

// tree makes a folder of texts, in which some words are rare, and returns its size.
func tree(t *testing.T) (dir string, size int64) {
	t.Helper()
	dir = t.TempDir()
	for i := range 60 {
		text := strings.Repeat(fmt.Sprintf("word%d of document%d and others, ", i%13, i), 1+i%9)
		name := filepath.Join(dir, fmt.Sprintf("folder%d", i%3), fmt.Sprintf("file%d", i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		size += int64(len(text))
	}
	return dir, size
}

func TestIndexJSON(t *testing.T) {
	dir, size := tree(t)
	var stdout, stderr bytes.Buffer
	f := newFlags("compare index", "", &stdout, &stderr)
	if status := f.compareFolder(dir, 3000, true); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d, stderr %q", status, stderr.String())
	}
	var got map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["answers_equal"] != true || got["queries"] != 3000. || got["documents"] != 60. || got["input_bytes"] != float64(size) {
		t.Errorf("%v", got)
	}
	want := strings.Fields(`build_seconds live_objects gc_cycles gc_cpu_seconds forced_gc_seconds
		stw_total_seconds stw_worst_seconds query_p50_ns query_p99_ns query_p999_ns query_max_ns
		go_heap_bytes reserved_bytes committed_bytes resident_bytes live_bytes peak_rss_bytes`)
	slices.Sort(want)
	for _, side := range []string{"go_heap", "offheap"} {
		figures := got[side].(map[string]any)
		if keys := slices.Sorted(maps.Keys(figures)); !slices.Equal(keys, want) {
			t.Errorf("%s has %v, want %v", side, keys, want)
		}
		// These are above zero on every system and both sides.
		for _, key := range []string{"build_seconds", "live_objects", "forced_gc_seconds", "query_p50_ns", "query_max_ns", "go_heap_bytes"} {
			if figures[key].(float64) <= 0 {
				t.Errorf("%s: %s is %v", side, key, figures[key])
			}
		}
	}
	if live := got["offheap"].(map[string]any)["live_bytes"].(float64); live <= 0 {
		t.Errorf("off-heap live bytes %v", live)
	}
}

func TestIndexTable(t *testing.T) {
	dir, _ := tree(t)
	var stdout, stderr bytes.Buffer
	f := newFlags("compare index", "", &stdout, &stderr)
	if status := f.compareFolder(dir, 500, false); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d, stderr %q", status, stderr.String())
	}
	out := stdout.String()
	if !strings.Contains(out, "Documents: 60,") || !strings.Contains(out, "Queries: 500, all answers equal") {
		t.Errorf("printed %s", out)
	}
	for _, r := range indexRows {
		if !strings.Contains(out, r.title) {
			t.Errorf("no line for %q in %s", r.title, out)
		}
	}
}

func TestDiffer(t *testing.T) {
	var c index.Corpus
	c.Queries = index.List{Text: []byte("onetwothree"), Ends: []int{3, 6, 11}}
	a := &index.Report{Answers: []uint64{1, 2, 3}}
	if err := differ(&c, a, &index.Report{Answers: []uint64{1, 2, 3}}); err != nil {
		t.Error(err)
	}
	if err := differ(&c, a, &index.Report{Answers: []uint64{1, 7, 8}}); err == nil || !strings.Contains(err.Error(), `query 1: "two"`) {
		t.Errorf("error %v", err)
	}
	if err := differ(&c, a, &index.Report{Answers: []uint64{1, 2}}); err == nil {
		t.Error("a missing answer goes unnoticed")
	}
}

// TestIndexFailsWhereAnswersDiffer makes two answers differ: the figures say so, and the command fails.
func TestIndexFailsWhereAnswersDiffer(t *testing.T) {
	var c index.Corpus
	c.Queries = index.List{Text: []byte("word"), Ends: []int{4}}
	var stdout, stderr bytes.Buffer
	f := newFlags("compare index", "", &stdout, &stderr)
	for _, asJSON := range []bool{true, false} {
		stdout.Reset()
		stderr.Reset()
		status := f.report(&c, &index.Report{Answers: []uint64{1}}, &index.Report{Answers: []uint64{2}}, asJSON)
		if status != 1 || !strings.Contains(stderr.String(), `query 0: "word"`) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("status %d, stderr %q", status, stderr.String())
		}
		if out := stdout.String(); !strings.Contains(out, `"answers_equal": false`) && !strings.Contains(out, "ANSWERS DIFFER") {
			t.Errorf("printed %s", out)
		}
	}
}

// TestMeasureSideFails lets a child fail: it says why on stderr, and its parent gets an error.
func TestMeasureSideFails(t *testing.T) {
	dir, _ := tree(t)
	c, err := index.Survey(dir, 10, func(string, int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	c.Bytes++
	var stderr bytes.Buffer
	if _, err := inIndexSide(index.OffHeap, c, &stderr); err == nil || !strings.Contains(stderr.String(), "changed while") {
		t.Errorf("error %v, stderr %q", err, stderr.String())
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	var b bytes.Buffer
	show, done := newProgress(&b, "")
	show("working", 1, 2)
	done()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	show, done = newProgress(file, "")
	show("working", 1, 2)
	done()
	if text, err := io.ReadAll(file); err != nil || len(text) > 0 || b.Len() > 0 {
		t.Errorf("wrote %q and %q (%v)", text, b.String(), err)
	}
}

func TestProgressLine(t *testing.T) {
	var b bytes.Buffer
	l := &line{out: &b}
	l.show("quick work", 1, 10)
	l.show("long work", 1, 10)
	if b.Len() > 0 {
		t.Errorf("announced at once: %q", b.String())
	}
	l.started = l.started.Add(-2 * patience)
	l.show("long work", 1234, 5678)
	l.show("long work", 1235, 5678) // too soon after the last
	l.clear()
	if want := "\r\x1b[Klong work: 1,234 of 5,678\r\x1b[K"; b.String() != want {
		t.Errorf("wrote %q, want %q", b.String(), want)
	}
}
