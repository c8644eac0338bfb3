package readme

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// code finds the Go blocks of a Markdown file.
var code = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestPrograms builds and runs each whole program of README.md, and compares what it prints with the
// comment after "// Output:".
func TestPrograms(t *testing.T) {
	programs := 0
	for _, source := range blocks(t) {
		if !strings.HasPrefix(source, "package main") {
			continue
		}
		programs++
		_, comment, found := strings.Cut(source, "// Output:\n")
		if !found {
			t.Errorf("a program of README.md has no // Output: comment:\n%s", source)
			continue
		}
		var want []string
		for line := range strings.Lines(comment) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "// "); ok {
				want = append(want, text)
			}
		}
		if got, want := run(t, source), strings.Join(want, "\n"); strings.TrimSpace(got) != want {
			t.Errorf("README.md promises\n%s\nand the program prints\n%s", want, got)
		}
	}
	if programs == 0 {
		t.Error("README.md has no program")
	}
}

// TestFragments runs all other Go blocks as one program, in order, each in a function of its own. Where a
// line that prints ends with a comment, the comment must be what is printed; "…" stands for anything.
func TestFragments(t *testing.T) {
	var functions, calls strings.Builder
	var want []string
	printed := regexp.MustCompile(`fmt\.Println\(.*\)(?:\n?\s*// (.*))?`)
	for i, source := range blocks(t) {
		if strings.HasPrefix(source, "package main") {
			continue
		}
		if strings.HasPrefix(source, "func Fuzz") {
			fmt.Fprintf(&functions, "%s\n", source)
			continue
		}
		for _, m := range printed.FindAllStringSubmatch(source, -1) {
			want = append(want, m[1])
		}
		// A block may declare what it does not use, and end before it has handled its last error.
		fmt.Fprintf(&functions, "func block%d(a *arena.Arena) (err error) {\n%s\nreturn nil\n}\n", i, strings.Replace(source, "_, err := slab", "_, err = slab", 1))
		fmt.Fprintf(&calls, "check(%d, block%d(a))\n", i, i)
	}
	got := run(t, strings.NewReplacer("FUNCTIONS", functions.String(), "CALLS", calls.String()).Replace(wrapper))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != len(want)-1 { // the call of native code has no library to load here
		t.Fatalf("the blocks print %d lines, and promise %d:\n%s", len(lines), len(want)-1, got)
	}
	for i, line := range lines {
		promise := want[i]
		if promise == "" {
			promise = want[i+1] // of the call of native code, which promises nothing
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(promise), "…", ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(line) {
			t.Errorf("README.md promises %q and its code prints %q", promise, line)
		}
	}
}

// wrapper is the program around the blocks.
const wrapper = `package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
	"github.com/seed-9a6c551e/offheap/table"
)

type session struct{ User, Expires uint64 }

// Parse stands for the reader's own function.
func Parse([]byte) {}

FUNCTIONS

func main() {
	_, _, _ = guardtest.Fence, testing.Short, FuzzParse
	a, err := arena.Open(arena.Config{})
	check(-1, err)
	CALLS
}

// check allows the one error that must come: the shared library is not there.
func check(block int, err error) {
	if err != nil && !strings.Contains(err.Error(), "kernel.so") {
		fmt.Println("block", block, err)
		os.Exit(1)
	}
}
`

func blocks(t *testing.T) (sources []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range code.FindAllStringSubmatch(string(text), -1) {
		sources = append(sources, m[1])
	}
	return sources
}

// run builds a program, as if it stood in this module, and returns what it prints.
func run(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nof\n%s", err, out, source)
	}
	out, err := exec.Command(program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
