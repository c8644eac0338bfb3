package misuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/invariant"
	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/slab"
)

// misuse is a case: one way to misuse the library, or a use that looks like misuse and is valid. Each case runs
// in a process of its own.
type misuse struct {
	name string
	do   func(w *world)
	want outcomes
}

// outcomes says how a case ends in each mode: with fine or notCaught, or with the first line of the error. In
// this line # stands for any number, 0xADDR for any address and "*" for the name of any region; the stacks
// that the error has follow behind it. It is "" where the mode does not apply.
type outcomes struct{ plain, hardened, sampled, invariants, race string }

const (
	fine      = "fine"       // nothing is wrong, and the case runs to its end
	notCaught = "not caught" // it is misuse, and the case runs to its end
	reported  = "data race"  // the race detector reports it, and the case runs to its end
)

// mode is a way to run the cases.
type mode struct {
	name   string
	want   func(outcomes) string
	binary string // path of the test's binary that runs it
	fail   string // reason why it cannot run; "" if it can
}

func modes() []mode {
	return []mode{
		{name: "default", want: func(o outcomes) string { return o.plain }},
		{name: "hardened", want: func(o outcomes) string { return o.hardened }},
		{name: "sampled", want: func(o outcomes) string { return o.sampled }},
		{name: "invariants", want: func(o outcomes) string { return o.invariants }},
		{name: "race", want: func(o outcomes) string { return o.race }},
	}
}

// everywhere expects the same outcome in every mode.
func everywhere(s string) outcomes { return outcomes{plain: s, hardened: s, sampled: s, invariants: s} }

// apart expects different outcomes of plain heaps, of hardened heaps, and of plain heaps with all objects
// sampled.
func apart(plain, hardened, sampled string) outcomes {
	return outcomes{plain: plain, hardened: hardened, sampled: sampled, invariants: plain}
}

// plainly expects an outcome of an owner other than a heap: it has no hardened form and no sampled objects.
func plainly(s string) outcomes { return outcomes{plain: s, invariants: s} }

// underRace expects the race detector to report what two goroutines do. Without it anything may happen.
func underRace() outcomes { return outcomes{race: reported} }

// inOrder expects that two goroutines do nothing wrong.
func inOrder() outcomes { return outcomes{plain: fine, invariants: fine, race: fine} }

// violates returns the error for a violation of an object at some offset in a region.
func violates(op, what, region, offset string) string {
	if what == freedAlready && !strings.HasSuffix(op, ".Free") && !strings.HasSuffix(op, ".Put") {
		what = strings.Replace(what, "double free", "use after free", 1)
	}
	if region != "" {
		region = fmt.Sprintf("%q, ", region)
	}
	return fmt.Sprintf("violation: %s: %s (%saddress 0xADDR, offset %s)", op, what, region, offset)
}

// inParentheses returns the end of an error that names the owner; "" for a zero value, which has no name.
func inParentheses(owner string) string {
	if owner == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", owner)
}

// suite is a list of cases with the same origin.
type suite struct {
	name  string
	heaps bool // the cases misuse heaps or pools of package slab
	cases []misuse
}

// world is the surroundings of a case: its configuration, and checks for afterwards.
type world struct {
	config slab.Config
	after  []func() error
}

// failure is an error that a call returned.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// must ends the case with an error that a call returned.
func (w *world) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// mustNotReturnFault is must for an error that may wrap a *guard.Fault: a fault that a call returns is an error as others
// are, and ends no program.
func (w *world) mustNotReturnFault(err error) {
	if err != nil {
		w.must(errors.New(err.Error()))
	}
}

// then calls f when the case has ended, in whatever way. f must succeed.
func (w *world) then(f func() error) { w.after = append(w.after, f) }

// ruined drops the checks for afterwards, for cases that write over the memory of others.
func (w *world) ruined() { w.after = nil }

// run runs a case and returns how it ends.
func (c misuse) run(mode string) (end string) {
	w := &world{config: slab.Config{Name: "heap", Hardened: mode == "hardened", Limit: 1 << 30}}
	if mode == "sampled" {
		slab.SetSampling(slab.Sampling{Every: 1, Seed: 3}) // the first object lies at the end of its slot, the second at the start
	}
	races := race.Errors()
	end = ending(func() { c.do(w) })
	if end == "end" && race.Errors() > races {
		end = reported
	}
	for _, f := range w.after {
		if then := ending(func() { w.must(f()) }); then != "end" {
			return end + ", and then " + then
		}
	}
	return end
}

func ending(f func()) (end string) {
	defer func() {
		p := recover()
		err, _ := p.(error)
		var v *guard.Violation
		var f *guard.Fault
		var x failure
		switch {
		case p == nil:
		case errors.As(err, &f):
			end = "fault: " + f.Error()
		case errors.As(err, &v):
			end = "violation: " + v.Error()
		case errors.As(err, &x):
			end = "error: " + x.Error()
		default:
			end = fmt.Sprintf("panic: %v", p)
		}
		end = firstLine(addresses.ReplaceAllString(end, "0xADDR"))
	}()
	if err := guard.Catch(f); err != nil {
		return "fault: " + err.Error()
	}
	return "end"
}

var addresses = regexp.MustCompile(`0x[0-9a-f]+`)

// firstLine returns the first line of an error, and the names of the stacks that follow in other lines.
func firstLine(s string) string {
	line, rest, _ := strings.Cut(s, "\n")
	for _, stack := range []string{"allocated", "freed"} {
		if strings.Contains("\n"+rest, "\n"+stack+" at\n") {
			line += " +" + stack
		}
	}
	return line
}

// meets reports whether a case ended as it should.
func meets(end, want string) bool {
	if want == fine || want == notCaught {
		return end == "end"
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "#", `-?[0-9]+`)
	pattern = strings.ReplaceAll(pattern, `"\*"`, `"[^"]*"`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(end)
}

// asked is the environment variable that makes the test's binary run cases instead of tests. It has the mode
// in the first line, and the name of a case in each further line.
const asked = "OFFHEAP_TEST_MISUSE"

func TestMain(m *testing.M) {
	mode, names, yes := strings.Cut(os.Getenv(asked), "\n")
	bare, one, alone := strings.Cut(os.Getenv(askedUncaught), "\n")
	if !yes && !alone {
		os.Exit(m.Run())
	}
	for _, s := range suites {
		for _, c := range s.cases {
			if alone && s.name+": "+c.name == one {
				c.runUncaught(bare)
				return
			}
			if slices.Contains(strings.Split(names, "\n"), s.name+": "+c.name) {
				fmt.Printf("%s: %s\t%s\n", s.name, c.name, c.run(mode))
			}
		}
	}
}

// ends runs cases in one process and returns how each of them ends.
func ends(binary, mode string, names []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	// With one processor the order of slots, and so of errors, does not change.
	cmd.Env = append(os.Environ(), asked+"="+mode+"\n"+strings.Join(names, "\n"), "GOMAXPROCS=1")
	if mode == "race" {
		cmd.Env = append(cmd.Env, "GORACE=exitcode=0 atexit_sleep_ms=0") // a report is no failure of the process
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w\n%s%s", err, out, stderr.Bytes())
	}
	all := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		if name, end, ok := strings.Cut(line, "\t"); ok {
			all[name] = end
		}
	}
	return all, err
}

// TestMisuse runs all cases in all modes. With -v it prints how they end.
func TestMisuse(t *testing.T) {
	all := modes()
	for i := range all {
		m := &all[i]
		m.binary = os.Args[0]
		switch {
		case m.name == "invariants" && !invariant.Enabled:
			m.binary, m.fail = buildInvariants(t)
		case m.name == "default" && invariant.Enabled:
			m.fail = "this binary checks invariants"
		case m.name == "race" && !race.Enabled:
			m.fail = "this binary was not built with -race"
		}
		if m.fail != "" {
			t.Logf("mode %s is left out: %s", m.name, m.fail)
		}
	}
	ended := runAll(t, all)
	var matrix strings.Builder
	table := tabwriter.NewWriter(&matrix, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tdefault\thardened\tsampled\tinvariants\trace")
	for _, s := range suites {
		fmt.Fprintf(table, "\n%s\n", s.name)
		for _, c := range s.cases {
			fmt.Fprintf(table, "  %s", c.name)
			for _, m := range all {
				want := m.want(c.want)
				cell, _, _ := strings.Cut(want, ":")
				if end := ended[m.name+": "+s.name+": "+c.name]; want == "" || m.fail != "" {
					cell = "-"
				} else if !meets(end, want) {
					t.Errorf("%s: %s, %s:\n got %s\nwant %s", s.name, c.name, m.name, end, want)
					cell = "WRONG"
				}
				fmt.Fprintf(table, "\t%s", cell)
			}
			fmt.Fprintln(table)
		}
	}
	table.Flush()
	for _, m := range all {
		if m.fail == "" {
			fmt.Fprintf(&matrix, "\n%s", m.sum())
		}
	}
	t.Logf("how misuse ends\n%s", matrix.String())
}

// valid reports whether a case is no misuse.
func valid(c misuse) bool {
	return c.want.plain == fine || c.want.plain == "" && c.want.hardened == fine
}

// sum counts the outcomes of a mode.
func (m mode) sum() string {
	cases, right, missed := 0, 0, 0
	for _, s := range suites {
		for _, c := range s.cases {
			want := m.want(c.want)
			if want == "" {
				continue
			}
			cases++
			if valid(c) {
				right++
			} else if want == notCaught {
				missed++
			}
		}
	}
	return fmt.Sprintf("%s: %d cases, %d of them valid; of the %d others %d are caught", m.name, cases, right, cases-right, cases-right-missed)
}

// runAll runs all cases in all modes that apply to them, each in a process of its own. It returns how they end,
// by mode and name.
func runAll(t *testing.T, all []mode) map[string]string {
	together := 1 // cases in a process
	if testing.Short() || race.Enabled {
		together = 50
	}
	type job struct {
		mode
		names []string
	}
	var jobs []job
	for _, m := range all {
		var names []string
		for _, s := range suites {
			for _, c := range s.cases {
				if m.fail == "" && m.want(c.want) != "" {
					names = append(names, s.name+": "+c.name)
				}
			}
		}
		for some := range slices.Chunk(names, together) {
			jobs = append(jobs, job{m, some})
		}
	}
	if _, err := ends(jobs[0].binary, "default", nil); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this system cannot start the test's binary")
	}
	ended := map[string]string{}
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.NumCPU() + 1 {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(jobs)); i = next.Add(1) - 1 {
				j := jobs[i]
				got, err := ends(j.binary, j.name, j.names)
				mu.Lock()
				if err != nil {
					t.Errorf("%s: %v: %v", j.name, j.names, err)
				}
				for name, end := range got {
					ended[j.name+": "+name] = end
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return ended
}

// buildInvariants builds the test's binary with -tags invariants.
func buildInvariants(t *testing.T) (binary, fail string) {
	if testing.Short() {
		return "", "building it takes too long for -short"
	}
	binary = filepath.Join(t.TempDir(), "invariants.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "invariants", "-o", binary, ".").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", "there is no go command"
	}
	if err != nil {
		t.Errorf("building with -tags invariants: %v\n%s", err, out)
		return "", "it does not build"
	}
	return binary, ""
}
