package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain makes the test binary a child that commands may start as they start offheap.
func TestMain(m *testing.M) {
	sides := []string{compareSideCommand, indexSideCommand, replaySideCommand, stacksSideCommand, ipcSideCommand}
	if len(os.Args) > 1 && slices.Contains(sides, os.Args[1]) {
		main()
	}
	os.Exit(m.Run())
}

func runs(args ...string) (status int, stdout, stderr string) {
	var out, complaints bytes.Buffer
	status = run(args, &out, &complaints)
	return status, out.String(), complaints.String()
}

func TestHelp(t *testing.T) {
	for _, flag := range []string{"-h", "-help", "--help"} {
		status, stdout, stderr := runs(flag)
		if status != 0 || stderr != "" {
			t.Errorf("%s: status %d, stderr %q", flag, status, stderr)
		}
		for _, c := range commands {
			listed := strings.Contains(stdout, "  "+c.name+" ")
			if listed != (c.summary != "") {
				t.Errorf("%s: %s listed: %v", flag, c.name, listed)
			}
			status, stdout, stderr := runs(append(strings.Fields(c.name), flag)...)
			if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: offheap "+c.name) {
				t.Errorf("%s %s: status %d, stdout %q, stderr %q", c.name, flag, status, stdout, stderr)
			}
		}
	}
}

func TestCommandLineRefused(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, []byte("\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(empty, "gone")
	for _, c := range []struct {
		args string
		says string
	}{
		{"", "which command"},
		{"fly", `"fly"`},
		{"-v", `"-v"`},
		{"compare -fast", "-fast"},
		{"compare here", `"here"`},
		{"compare -search index", `"index"`},
		{"compare -entries 999", "1000 or more"},
		{"compare -entries 1000000000000", "memory"},
		{"compare -entries many", "many"},
		{"compare -rate 0", "-rate 0"},
		{"compare -rate NaN", "-rate NaN"},
		{"compare -seconds 0.01", "-seconds 0.01"},
		{"compare -seconds Inf", "-seconds"},
		{"compare -limit much", `-limit "much"`},
		{"compare -entries 1000000 -limit 1MiB", "1,000,000 entries need"},
		{"compare -limit -5", "-limit"},
		{"compare -limit 1000TiB", "memory"},
		{"compare -limit 0 -search", "needs a limit"},
		{"compare index -fast", "-fast"},
		{"compare index -dir", "-dir"},
		{"compare index here", `"here"`},
		{"compare index -json -dir " + gone, "no folder"},
		{"compare index -dir " + file, "not a folder"},
		{"compare index -dir " + empty, "no text"},
		{"bench", "fleet, gc, growth"},
		{"bench C9", `"C9"`},
		{"bench fleet", "needs -sizes"},
		{"bench -sample -1 C1t1", "must not be negative"},
		{"bench -sample 10 -goheap C1t1", "not for -goheap"},
		{"bench -sample 10 C5", "-sample is not for C5: it is for all labels but bump"},
		{"bench -local bump", "-local is not for bump: it is for all labels but bump"},
		{"bench -local -hardened churn", "-local and -hardened exclude each other"},
		{"bench -zero -goheap churn", "-zero and -goheap exclude each other"},
		{"bench -live 0 churn", "-live 0: it must be"},
		{"bench -ops -1 churn", "-ops -1: it must not"},
		{"bench -ops 7 pair", "-ops is not for pair: it is only for churn, churn/2, handover"},
		{"bench -kv -json churn", "-kv and -json exclude each other"},
		{"bench churn pair", `"pair"`},
		{"bench churn -local", "-local must come before churn"},
		{"bench -sizes " + empty + " gc", "-sizes is not for gc: it is only for fleet"},
		{"bench -sizes " + gone + " fleet", "no folder"},
		{"bench -sizes " + file + " fleet", "not a folder"},
		{"stacks -n 0", "-n 0"},
		{"stacks -n -1", "-n -1"},
		{"stacks -n many", "many"},
		{"stacks -n 1000000000000", "memory"},
		{"stacks -size 0", "-size 0"},
		{"stacks -size 2000000000", "1 GiB"},
		{"stacks here", `"here"`},
		{"replay " + empty, "is a folder"},
		{"ipc -fast", "-fast"},
		{"ipc here", `"here"`},
		{"ipc -seconds 0", "-seconds 0 must be"},
		{"ipc -seconds NaN", "-seconds NaN must be"},
		{"ipc -seconds 3601", "-seconds 3601 must be"},
		{"ipc -seconds soon", "soon"},
		{"ipc -sizes=", "-sizes names no size"},
		{"ipc -sizes 64,", `-sizes 64,: ""`},
		{"ipc -sizes large", `"large"`},
		{"ipc -sizes 56", "56 must be from 64 to 1,048,576"},
		{"ipc -sizes 64,2MiB", "2MiB must be from 64 to 1,048,576"},
		{"ipc -sizes 100", "100 is no multiple of 8"},
		{"ipc -sizes -64", "-64"},
		{"ipc -sizes 64,4KiB,4096", "4096 stands there twice"},
		{"info -fast", "-fast"},
		{"info now", `"now"`},
		{"info -json=perhaps", "perhaps"},
	} {
		status, stdout, stderr := runs(strings.Fields(c.args)...)
		if status != 2 || stdout != "" || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "offheap") {
			t.Errorf("offheap %s: status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}

func TestHelpByName(t *testing.T) {
	_, want, _ := runs("-h")
	if status, stdout, stderr := runs("help"); status != 0 || stdout != want || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

func TestCompareIndexWithoutGo(t *testing.T) {
	t.Setenv("PATH", "")
	status, _, stderr := runs("compare", "index")
	if status != 2 || !strings.Contains(stderr, "-dir") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}
