package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-9a6c551e/offheap/bench/internal/machine"
)

type options struct {
	rows            []row
	rounds          int
	quick           bool
	busy            float64           // percent
	trees           map[string]string // checkouts, by side: "before" and "after"
	anchors         string
	trace, hardened string
}

// job is a command that is run once a round.
type job struct {
	command []string
	preload string // a library that replaces malloc
	stdin   string // a file
	only    string // the word that the line with the figures has; "" if there is only one line
}

// measurement has the jobs and the figures that they printed.
type measurement struct {
	options
	folder  string         // temporary
	jobs    map[string]job // by name: side and command, or allocator and driver
	order   []string       // of the jobs' names
	printed map[string][]map[string]float64
	notes   []string
	leftOut int
}

// allocators are the C allocators. The libraries are Debian's.
var allocators = []struct{ name, library, debian string }{
	{"glibc", "", ""},
	{"jemalloc", "libjemalloc.so.2", "libjemalloc2"},
	{"mimalloc", "libmimalloc.so.2.0", "libmimalloc2.0"},
	{"tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"},
}

// prepare builds everything in a temporary folder, and makes the list of the jobs. What cannot be had is a note.
func prepare(o options, folder string) (*measurement, error) {
	m := &measurement{options: o, folder: folder, jobs: map[string]job{}, printed: map[string][]map[string]float64{}}
	for side, tree := range m.trees {
		for _, build := range [][]string{
			{tree, "go", "build", "-o", m.in(side + ".offheap"), "./cmd/offheap"},
			{filepath.Join(tree, "bench"), "go", "test", "-c", "-o", m.in(side + ".test"), "."},
		} {
			if err := command(build[0], build[1:]...); err != nil {
				return nil, err
			}
		}
	}
	hasAnchors := true
	if err := command(".", "sh", filepath.Join(m.anchors, "build.sh"), m.in("")); err != nil {
		hasAnchors = false
		m.note("skipped: rows with C1, C2 and C3, whose drivers are not here (-anchors): %v", err)
	}
	if err := command("c", "make", "-s"); err != nil {
		m.note("skipped: rows with the drivers of bench/c: %v", err)
	}
	text, err := m.unpackTrace()
	if err != nil {
		m.note("skipped: the trace is not here (-trace): %v", err)
	}
	for _, r := range m.rows {
		if r.command == "replay -kv TRACE" && err != nil {
			continue
		}
		for _, side := range []string{"before", "after"} {
			m.addGo(side, r.command)
		}
		switch r.against {
		case anotherGo:
			m.addGo("after", r.c)
		case bestC, tcmalloc, hardenedC:
			inBench := strings.HasPrefix(r.c, "c/")
			if !inBench && !hasAnchors {
				continue
			}
			for _, a := range allocators {
				if r.against == bestC || a.name == "tcmalloc" {
					m.addC(a.name, library(a.library, a.debian), a.library, r.c, text)
				}
			}
			if r.against == hardenedC && m.hardened != "" {
				m.addC("hardened_malloc", m.hardened, m.hardened, r.c, "")
			} else if r.against == hardenedC {
				m.note("hardened_malloc is not here (-hardened-malloc); its time is taken to be 12 times tcmalloc's")
			}
		}
	}
	return m, nil
}

// in returns the name of a file in the temporary folder.
func (m *measurement) in(name string) string { return filepath.Join(m.folder, name) }

func (m *measurement) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

func (m *measurement) add(name string, j job) {
	if _, has := m.jobs[name]; !has {
		m.jobs[name] = j
		m.order = append(m.order, name)
	}
}

// addGo adds a command of offheap, or a benchmark, for a side.
func (m *measurement) addGo(side, what string) {
	if m.trees[side] == "" {
		return
	}
	name := side + " " + what
	if work, peer, is := strings.Cut(what, "/"); is && strings.HasPrefix(work, "Benchmark") {
		benchtime := "300ms"
		if m.quick {
			benchtime = "50ms"
		}
		m.add(name, job{command: []string{m.in(side + ".test"), "-test.run=xxx", "-test.benchtime=" + benchtime,
			"-test.bench=^" + work + "$/^" + regexp.QuoteMeta(peer) + "$"}, only: work})
		return
	}
	words := strings.Fields(strings.Replace(what, "TRACE", m.trace, 1))
	j := job{command: append([]string{m.in(side + ".offheap")}, words...)}
	if words[0] == "replay" {
		j.only = "allocator=heap"
	}
	m.add(name, j)
}

// addC adds a driver with an allocator.
func (m *measurement) addC(allocator, preload, library, driver, text string) {
	if library != "" && preload == "" {
		m.note("skipped: %s: there is no %s", allocator, library)
		return
	}
	words := strings.Fields(driver)
	j := job{command: words, preload: preload}
	if words[0] == "c/replay" {
		j.stdin = text
	}
	if !strings.HasPrefix(words[0], "c/") {
		words[0] = m.in(words[0])
	}
	m.add(allocator+" "+driver, j)
}

// library returns the path of a library, which it installs if it is missing and can be; "" if not.
func library(name, debian string) string {
	if name == "" {
		return ""
	}
	for range 2 {
		if found, _ := filepath.Glob("/usr/lib/*/" + name); found != nil {
			return found[0]
		}
		command(".", "apt-get", "install", "-y", "-qq", debian)
	}
	return ""
}

// unpackTrace returns the name of a file with the text of the trace.
func (m *measurement) unpackTrace() (name string, err error) {
	if m.trace, err = filepath.Abs(m.trace); err != nil {
		return "", err
	}
	packed, err := os.Open(m.trace)
	if err != nil {
		return "", err
	}
	defer packed.Close()
	text, err := gzip.NewReader(packed)
	if err != nil {
		return "", err
	}
	out, err := os.Create(m.in("trace.csv"))
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, text)
	return out.Name(), errors.Join(err, out.Close())
}

// command runs a command that prints nothing of interest unless it fails.
func command(folder string, words ...string) error {
	c := exec.Command(words[0], words[1:]...)
	c.Dir = folder
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, out)
	}
	return nil
}

// measure runs all jobs, round by round. An interrupt ends it: then only the runs so far count.
func (m *measurement) measure() {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer fmt.Fprintln(os.Stderr)
	for round := range m.rounds {
		for i, name := range m.order {
			fmt.Fprintf(os.Stderr, "\rround %d of %d, %d of %d: %-80.80s", round+1, m.rounds, i+1, len(m.order), name)
			j := m.jobs[name]
			kv, other, err := j.run(interrupted)
			switch {
			case interrupted.Err() != nil:
				m.note("interrupted in round %d", round+1)
				return
			case err != nil:
				m.note("%s: %v", name, err) // the checkout may be of a time before a flag
			case other > m.busy/100:
				m.leftOut++
			default:
				m.printed[name] = append(m.printed[name], kv)
			}
		}
	}
}

// run runs a job. It returns the figures that were printed, and the share of the machine's processors that
// others used meanwhile. Five minutes are too long for a job.
func (j *job) run(ctx context.Context) (kv map[string]float64, other float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, j.command[0], j.command[1:]...)
	if j.preload != "" {
		c.Env = append(os.Environ(), "LD_PRELOAD="+j.preload)
	}
	if j.stdin != "" {
		in, err := os.Open(j.stdin)
		if err != nil {
			return nil, 0, err
		}
		defer in.Close()
		c.Stdin = in
	}
	var says strings.Builder
	c.Stderr = &says
	before, _ := machine.BusySeconds()
	start := time.Now()
	out, err := c.Output()
	wall := time.Since(start).Seconds()
	after, processors := machine.BusySeconds()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(says.String()))
	}
	used := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	other = (after - before - used.Seconds()) / (wall * float64(processors))
	kv = map[string]float64{}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, j.only) {
			continue
		}
		words := strings.Fields(line)
		for i, word := range words {
			name, value, _ := strings.Cut(word, "=")
			if word == "ns/op" {
				name, value = "ns", words[i-1]
			}
			if x, err := strconv.ParseFloat(value, 64); err == nil {
				kv[name] = x
			}
		}
	}
	return kv, other, nil
}

// figure returns the median of a figure of a job; not a number if there is none.
func (m *measurement) figure(name string, of figure) float64 {
	var all []float64
	for _, kv := range m.printed[name] {
		all = append(all, of(kv))
	}
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// other returns the figure that a row is compared with, and whose it is.
func (m *measurement) other(r row) (best float64, whose string) {
	best = math.NaN()
	switch r.against {
	case anotherGo:
		_, peer, _ := strings.Cut(r.c, "=")
		return m.figure("after "+r.c, r.of), peer
	case hardenedC:
		if m.hardened != "" {
			return m.figure("hardened_malloc "+r.c, r.of), "hardened_malloc"
		}
		return 12 * m.figure("tcmalloc "+r.c, r.of), "12 × tcmalloc"
	case bestC, tcmalloc:
		for _, a := range allocators {
			if x := m.figure(a.name+" "+r.c, r.of); !(x >= best) && !math.IsNaN(x) {
				best, whose = x, a.name
			}
		}
	}
	return best, whose
}
