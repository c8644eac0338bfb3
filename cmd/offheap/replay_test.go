package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace.csv")
	lines := "op,thread,id,size,align\nm,1,1,100,0\nc,2,2,5000,64\nr,1,1,300,0\nf,2,1,0,0\nm,1,3,3000000,0\n"
	if err := os.WriteFile(trace, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{}, {"-threads"}, {"-verify"}} {
		status, stdout, stderr := runs(append(append([]string{"replay"}, flags...), trace)...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, "5 operations on 3 objects, 2 threads") || !strings.Contains(stdout, "peak RSS") {
			t.Errorf("%v: status %d, stdout %q, stderr %q", flags, status, stdout, stderr)
		}
	}
	status, stdout, stderr := runs("replay", "-kv", trace)
	if status != 0 || stderr != "" || strings.Count(stdout, "\n") != 2 || strings.Count(stdout, " harness_ms=") != 2 {
		t.Errorf("-kv: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	status, stdout, stderr = runs("replay", "-json", trace)
	var got struct{ Replays []replayed }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || len(got.Replays) != 1 {
		t.Fatalf("status %d, stdout %q, stderr %q: %v", status, stdout, stderr, err)
	}
	if r := got.Replays[0]; r.OffHeap.LiveBytes < 3_005_000 || r.OffHeap.Seconds <= 0 || r.GoHeap.Seconds <= 0 {
		t.Errorf("%+v %+v", *r.OffHeap, *r.GoHeap)
	}
	if err := os.WriteFile(trace, []byte("m,1,1,100,0\nf,1,2,0,0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := runs("replay", trace); status != statusFailed || !strings.Contains(stderr, "line 2: object 2 was never allocated") {
		t.Errorf("a bad line: status %d, stderr %q", status, stderr)
	}
	for _, args := range [][]string{{"replay"}, {"replay", filepath.Join(t.TempDir(), "none")}} {
		if status, _, stderr := runs(args...); status != statusUsage || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: status %d, stderr %q", args, status, stderr)
		}
	}
}
