package main

import (
	"strings"
	"testing"
	"time"
)

// TestRows runs all rows with small tables. Both sides must have the same results.
func TestRows(t *testing.T) {
	o := &options{rounds: 2, busy: 100, patience: time.Minute}
	defer unshare()
	for _, r := range allRows(scale{2000, 1000}) {
		if strings.HasPrefix(r.name, "memory") {
			continue // has no smaller form
		}
		if m := measure(o, &r); len(m.ratios) != o.rounds {
			t.Errorf("%s: %d rounds", r.name, len(m.ratios))
		}
	}
}
