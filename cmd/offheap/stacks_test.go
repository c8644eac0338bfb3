package main

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/stackbench"
	"github.com/seed-9a6c551e/offheap/guard"
)

func TestStacks(t *testing.T) {
	status, stdout, stderr := runs("stacks", "-n", "2000", "-size", "20000", "-json")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var r stacksReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Stacks != 2000 || r.SizeBytes != 20000 || r.NsPerStack <= 0 || r.Times == nil || r.GetPut <= 0 || r.PushPop <= 0 || r.New <= 0 {
		t.Errorf("%s", stdout)
	}
	if r.Mprotect.Stacks != 2000 || r.Goroutines.Stacks != 2000 || (r.Pthreads != nil) != stackbench.Cgo {
		t.Errorf("%s", stdout)
	}
	if runtime.GOOS == "linux" {
		if r.RSSBytes < int64(2000*guard.PageSize()) || r.PageTableBytes <= 0 || r.Mappings == 0 {
			t.Errorf("%s", stdout)
		}
		if guard.LightGuards() && r.Mprotect.Mappings < r.Mappings+2000 {
			t.Errorf("%d mappings with markers, %d with pages", r.Mappings, r.Mprotect.Mappings)
		}
		if runtime.GOARCH == "amd64" && (r.Call <= 0 || r.Overflow <= 0 || (r.CgoCall > 0) != stackbench.Cgo) {
			t.Errorf("%s", stdout)
		}
	}
	for _, key := range []string{"stacks", "ns_per_stack", "mappings", "rss_bytes", "page_table_bytes", "overhead_bytes_per_stack", "get_put_ns"} {
		if !strings.Contains(stdout, `"`+key+`"`) {
			t.Errorf("there is no %s in %s", key, stdout)
		}
	}
}

// TestStacksTable takes one stack of the smallest size.
func TestStacksTable(t *testing.T) {
	status, stdout, stderr := runs("stacks", "-n", "1", "-size", strconv.Itoa(guard.PageSize()))
	if status != 0 || stderr != "" || !strings.Contains(stdout, "mprotect guards") || !strings.Contains(stdout, "Get and Put") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
