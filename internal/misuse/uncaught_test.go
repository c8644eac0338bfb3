package misuse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

// askedUncaught is the environment variable that makes the test's binary run one case outside guard.Catch. It has the
// mode in the first line and the name of the case in the second. Modes are those of run, and "silent", which asks for
// no reports.
const askedUncaught = "OFFHEAP_TEST_UNCAUGHT"

// uncaught is whether cases run outside guard.Catch.
var uncaught bool

// returned is what a process says that does not end by a fault.
const returned = "returned\n"

// runUncaught runs a case outside guard.Catch. Only hardened heaps and sampled objects turn reports on by themselves.
func (c misuse) runUncaught(mode string) {
	uncaught = true
	if mode == "default" {
		if err := guard.ReportFaults(); err != nil {
			fmt.Println(err)
			return
		}
	}
	defer func() {
		recover() // a fault that a call returned
		fmt.Print(returned)
	}()
	w := &world{config: slab.Config{Name: "heap", Hardened: mode == "hardened", Limit: 1 << 30}}
	if mode == "sampled" {
		slab.SetSampling(slab.Sampling{Every: 1, Seed: 3})
	}
	c.do(w)
}

// TestUncaughtFaults runs all cases that end by a fault, outside guard.Catch. Each ends the process, which first writes
// the text of the error that Catch would return, if reports are on.
func TestUncaughtFaults(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("nothing is reported here: there is no handler")
	}
	if _, err := ends(os.Args[0], "default", nil); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this system cannot start the test's binary")
	}
	type job struct{ mode, name, want string }
	var jobs []job
	for _, s := range suites {
		for _, c := range s.cases {
			for _, m := range modes() {
				fault, ok := strings.CutPrefix(m.want(c.want), "fault: ")
				if !ok || m.name == "invariants" || m.name == "sampled" && !strings.Contains(fault, allocated) {
					continue // in the sampled mode nothing may be sampled
				}
				jobs = append(jobs, job{m.name, s.name + ": " + c.name, fault})
				if m.name == "default" {
					jobs = append(jobs, job{"silent", s.name + ": " + c.name, ""})
				}
			}
		}
	}
	if len(jobs) < 40 {
		t.Errorf("%d cases end by a fault", len(jobs))
	}
	var all sync.WaitGroup
	room := make(chan bool, runtime.NumCPU()+1)
	dir := t.TempDir() // for their files: they end before they can remove them
	for _, j := range jobs {
		room <- true
		all.Go(func() {
			defer func() { <-room }()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), askedUncaught+"="+j.mode+"\n"+j.name, "GOMAXPROCS=1", "TMPDIR="+dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			said := addresses.ReplaceAllString(out.String(), "0xADDR")
			var exit *exec.ExitError
			switch {
			case said == returned:
				if err != nil || !strings.HasPrefix(j.name, "stack/native: ") {
					t.Errorf("%s, %s: went on, and ended with %v", j.name, j.mode, err)
				}
				return
			case !errors.As(err, &exit) || exit.ExitCode() != 2:
				t.Errorf("%s, %s: ended with %v, want exit status 2", j.name, j.mode, err)
			}
			report, _, died := strings.Cut(said, "unexpected fault address 0xADDR\nfatal error: fault\n")
			if !died || !meetsReport(report, j.want) {
				first, _, _ := strings.Cut(said, "\n\n")
				t.Errorf("%s, %s: want\n%s\ngot\n%s", j.name, j.mode, j.want, first)
			}
		})
	}
	all.Wait()
}

// meetsReport tells whether a report is the one for a fault with this text; none if that is "".
func meetsReport(report, want string) bool {
	if want == "" {
		return report == ""
	}
	return strings.HasSuffix(report, "\n") && meets(firstLine(report), want)
}
