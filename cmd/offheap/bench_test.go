package main

import (
	"strings"
	"testing"
)

func TestBenchFleetWithoutTables(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := runs("bench", "-sizes", dir, "fleet")
	if status != statusFailed || stdout != "" || !strings.Contains(stderr, dir) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
