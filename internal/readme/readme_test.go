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

// TestFragments runs all other Go blocks in one program, each as a function. What a block prints must be
// the comments of its lines that print, in order; "…" stands for any text.
func TestFragments(t *testing.T) {
	var functions, calls strings.Builder
	promised := regexp.MustCompile(`fmt\.Println\(.*\)\n?[ \t]*// (.*)`)
	want := map[string]string{} // by the number of the block
	for i, source := range blocks(t) {
		switch {
		case strings.HasPrefix(source, "package main"):
		case strings.HasPrefix(source, "func "):
			functions.WriteString(source)
		default:
			fmt.Fprintf(&functions, "func block%d(a *arena.Arena, pool *stack.Pool) (err error) {\n{\n%s}\nreturn err\n}\n", i, source)
			fmt.Fprintf(&calls, "\tcall(%d, block%d, a, pool)\n", i, i)
			number := fmt.Sprint(i)
			want[number] = ""
			for _, m := range promised.FindAllStringSubmatch(source, -1) {
				want[number] += strings.ReplaceAll(regexp.QuoteMeta(m[1]), "…", ".*") + "\n"
			}
		}
	}
	got := run(t, strings.NewReplacer("FUNCTIONS", functions.String(), "CALLS", calls.String()).Replace(wrapper))
	for _, block := range strings.Split(got, "== block ")[1:] {
		number, lines, _ := strings.Cut(block, "\n")
		if !regexp.MustCompile("^" + want[number] + "$").MatchString(lines) {
			t.Errorf("block %s of README.md promises\n%s\nand prints\n%s", number, want[number], lines)
		}
		delete(want, number)
	}
	if len(want) > 0 {
		t.Errorf("these blocks of README.md did not run: %v", want)
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
	"github.com/seed-9a6c551e/offheap/cache"
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
	if err != nil {
		panic(err)
	}
	defer a.Close() // one that the collector finds lost would be reported among what blocks print
	pool, err := stack.OpenPool(stack.Config{})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
CALLS}

// call runs a block. The shared library that one of them loads is not there, and it must say so.
func call(number int, block func(*arena.Arena, *stack.Pool) error, a *arena.Arena, pool *stack.Pool) {
	fmt.Println("== block", number)
	if err := block(a, pool); err != nil && !strings.Contains(err.Error(), "kernel.so") {
		fmt.Println(err)
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
