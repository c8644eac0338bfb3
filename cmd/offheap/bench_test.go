package main

import (
	"flag"
	"io"
	"slices"
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

// TestBenchLabels looks at the table: labels are sorted and unique, help has each of them with each
// flag, and the labels of the drivers for C allocators are known.
func TestBenchLabels(t *testing.T) {
	every := labelsOf(func(*benchCase) bool { return true })
	if !slices.IsSorted(every) || len(slices.Compact(slices.Clone(every))) != len(every) {
		t.Errorf("labels %v", every)
	}
	_, help, _ := runs("bench", "-h")
	for _, c := range benchCases {
		if findCase(c.label) == nil || c.run == nil || len(c.kinds) == 0 || !strings.Contains(help, "\n  "+c.label+" ") {
			t.Errorf("%s: %+v", c.label, c)
		}
	}
	for old, label := range map[string]string{
		"C1t1": "churn", "C1t2": "churn/2", "C2uni": "handover", "C2bi": "handover/both", "C2ph": "handover/turns",
		"C3": "pair", "C4r": "phase", "C4c": "phase/clustered", "C5": "bump",
	} {
		if c := findCase(old); c == nil || c.label != label || !strings.Contains(help, label+" ("+old+")") {
			t.Errorf("%s is %+v, want %s", old, c, label)
		}
	}
	if findCase("") != nil || findCase("C9") != nil {
		t.Error("a label that there is not is found")
	}
}

// TestBenchFlags gives each flag to each benchmark: it is refused if and only if the table does not
// have it.
func TestBenchFlags(t *testing.T) {
	for i := range benchCases {
		c := &benchCases[i]
		for _, k := range kindFlags {
			for _, more := range []string{"", "sample", "live", "ops"} {
				f := flag.NewFlagSet("", flag.ContinueOnError)
				f.SetOutput(io.Discard)
				f.Int("sample", 0, "")
				f.Int("live", 1, "")
				f.Int("ops", 1, "")
				f.String("sizes", "", "the folder `DIR`")
				for _, k := range kindFlags {
					f.Bool(k.flag, false, "")
				}
				args := []string{"-" + k.flag}
				if more != "" {
					args = append(args, "-"+more+"=7")
				}
				if c.needs != "" {
					args = append(args, "-"+c.needs+"=x")
				}
				if err := f.Parse(args); err != nil {
					t.Fatal(err)
				}
				job := &benchJob{kind: c.kinds[0]}
				refused := c.choose(job, f, c.label)
				has := slices.Contains(c.kinds, k.kind) && (more == "" || slices.Contains(c.flags, more) && (more != "sample" || k.flag != "goheap"))
				if has != (refused == "") || has && job.kind != k.kind {
					t.Errorf("%s %v: %q, kind %s", c.label, args, refused, job.kind)
				}
			}
		}
	}
}

// TestBenchLocalZero gives the two flags for allocators that go together.
func TestBenchLocalZero(t *testing.T) {
	status, stdout, stderr := runs("bench", "-kv", "-zero", "-local", "-live", "100", "-ops", "1000", "churn")
	if status != statusOK || !strings.Contains(stdout, "ns_op=") || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
