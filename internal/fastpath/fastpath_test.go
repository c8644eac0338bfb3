package fastpath

import (
	"bufio"
	"flag"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var figures = flag.Bool("figures", false, "print the table as it is now, and compare nothing")

var architectures = []string{"amd64", "arm64"}

// row is one fast path of the table.
type row struct {
	pkg, function string
	inlined       bool
	most          map[string]int // instructions, by architecture
	counted       []string       // functions that are part of the fast path
	passed        []string       // functions that the fast path calls and comes back from
	slow          []string       // functions that end it
}

// allows tells whether the table names a function that is called.
func (r row) allows(name string) bool {
	return slices.Contains(r.counted, name) || slices.Contains(r.passed, name) || slices.Contains(r.slow, name)
}

// returns tells whether the fast path goes on behind a call of the function.
func (r row) returns(name string) bool {
	return slices.Contains(r.counted, name) || slices.Contains(r.passed, name)
}

func (r row) String() string { return r.pkg + "." + r.function }

// caller returns the name of the function of testdata/callers that calls the fast path.
func (r row) caller() string { return "main." + r.pkg + strings.ReplaceAll(r.function, ".", "") }

// symbols returns the names that the function itself may have in a symbol table: a method has one
// name with a pointer receiver, and another with a value.
func (r row) symbols() []string {
	names := []string{r.pkg + "." + r.function}
	if typ, method, ok := strings.Cut(r.function, "."); ok {
		names = append(names, r.pkg+".(*"+typ+")."+method)
	}
	return names
}

// readTable returns the rows of testdata/table and the Go version that they are for.
func readTable(t *testing.T) (rows []row, goVersion string) {
	text, err := os.ReadFile("testdata/table")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0][0] == '#':
			continue
		case goVersion == "":
			goVersion = f[0]
			continue
		case len(f) < 5:
			t.Fatalf("testdata/table:%d: %q has no five columns", i+1, line)
		}
		r := row{pkg: f[0], function: f[1], inlined: f[2] == "yes", most: map[string]int{}}
		for k, arch := range architectures {
			if r.most[arch], err = strconv.Atoi(f[3+k]); err != nil {
				t.Fatalf("testdata/table:%d: %v", i+1, err)
			}
		}
		for _, name := range f[5:] {
			if counted, ok := strings.CutPrefix(name, "+"); ok {
				r.counted = append(r.counted, counted)
			} else if passed, ok := strings.CutPrefix(name, "="); ok {
				r.passed = append(r.passed, passed)
			} else {
				r.slow = append(r.slow, name)
			}
		}
		rows = append(rows, r)
	}
	return rows, goVersion
}

// instruction is a line of the disassembly.
type instruction struct {
	address uint64
	text    string // with single blanks
}

// disassemble returns the functions of a program, by the name that shorten makes.
func disassemble(t *testing.T, program string) map[string][]instruction {
	cmd := exec.Command("go", "tool", "objdump", "-s", `^main\.|offheap/`, program)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	functions := map[string][]instruction{}
	shared := map[string]bool{} // names of functions that are the shared code of a generic function
	symbol := ""
	var body []instruction
	end := func() {
		name, generic := shorten(symbol), strings.Contains(symbol, "[go.shape.")
		if symbol != "" && (generic || !shared[name]) {
			functions[name], shared[name] = body, generic
		}
		body = nil
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "TEXT "); ok {
			end()
			symbol, _, _ = strings.Cut(text, "(SB) ")
			continue
		}
		f := strings.Fields(lines.Text()) // file:line, address, bytes, instruction
		if len(f) < 4 {
			continue
		}
		address, err := strconv.ParseUint(f[1], 0, 64)
		if err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		body = append(body, instruction{address, strings.Join(f[3:], " ")})
	}
	end()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return functions
}

// shorten removes the path of a symbol's package and all type arguments.
func shorten(symbol string) string {
	var b strings.Builder
	depth := 0
	for _, c := range symbol {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0:
			b.WriteRune(c)
		}
	}
	short := b.String()
	short = short[strings.LastIndexByte(short, '/')+1:]
	return strings.TrimSuffix(strings.TrimSuffix(short, ".abi0"), ".abiinternal")
}

var (
	direct  = regexp.MustCompile(`^CALL (.+)\(SB\)$`)
	target  = regexp.MustCompile(`^([A-Z]+) (?:.*, )?(?:(0x[0-9a-f]+)|(-?\d+)\(PC\))$`)
	padding = regexp.MustCompile(`^(NOP|NOOP|UNDEF|UD2|INT |XCHG[WL] AX, AX|\?|BRK|HINT)`)
)

// callee returns the name of the function that an instruction calls, "" if it calls none.
func (i instruction) callee() string {
	if m := direct.FindStringSubmatch(i.text); m != nil {
		return shorten(m[1])
	}
	if strings.HasPrefix(i.text, "CALL ") {
		return "indirect"
	}
	return ""
}

// jump returns where an instruction jumps to; ok is false if it is no jump. Jumps to other functions
// are none: the compiler makes such only behind runtime.morestack.
func (i instruction) jump() (to uint64, conditional, ok bool) {
	m := target.FindStringSubmatch(i.text)
	if m == nil || m[1] == "CALL" || m[2] != "" && m[1][0] != 'J' {
		return 0, false, false
	}
	if m[2] != "" { // amd64
		to, _ = strconv.ParseUint(m[2], 0, 64)
	} else { // arm64
		n, _ := strconv.ParseInt(m[3], 10, 64)
		to = i.address + uint64(4*n)
	}
	return to, m[1] != "JMP", true
}

// measure counts the instructions that lie on a way from the start of a function to a return that
// calls nothing but what goes on behind the call.
func measure(body []instruction, goesOn func(callee string) bool) (n int) {
	at := map[uint64]int{}
	for k, i := range body {
		at[i.address] = k
	}
	ahead, back := make([][]int, len(body)), make([][]int, len(body))
	var returns []int
	for k, i := range body {
		next := []int{k + 1}
		to, conditional, jumps := i.jump()
		switch {
		case strings.HasPrefix(i.text, "RET"):
			next = nil
			returns = append(returns, k)
		case i.callee() != "" && !goesOn(i.callee()), strings.HasPrefix(i.text, "JMP") && !jumps:
			next = nil
		case jumps && conditional:
			next = append(next, at[to])
		case jumps:
			next = []int{at[to]}
		}
		for _, to := range next {
			if to < len(body) {
				ahead[k] = append(ahead[k], to)
				back[to] = append(back[to], k)
			}
		}
	}
	entered, left := reach(ahead, []int{0}), reach(back, returns)
	for k, i := range body {
		if entered[k] && left[k] && !padding.MatchString(i.text) {
			n++
		}
	}
	return n
}

// reach returns which nodes of a graph some of its nodes lead to.
func reach(edges [][]int, from []int) []bool {
	seen := make([]bool, len(edges))
	for len(from) > 0 {
		k := from[len(from)-1]
		from = from[:len(from)-1]
		if !seen[k] {
			seen[k] = true
			from = append(from, edges[k]...)
		}
	}
	return seen
}

// build compiles testdata/callers for an architecture, without what the environment may add.
func build(t *testing.T, arch string) (program string) {
	program = filepath.Join(t.TempDir(), "callers")
	cmd := exec.Command("go", "build", "-pgo=off", "-o", program, "./testdata/callers")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// skipOtherBuilds skips the test where the compiler is not the one that the table is for.
func skipOtherBuilds(t *testing.T, want string) {
	if testing.CoverMode() != "" {
		t.Skip("the table is for builds without coverage counters (-cover)")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" || s.Key == "-gcflags" {
				t.Skipf("the table is for builds without %s", s.Key)
			}
		}
	}
	out, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Skip("there is no go command to ask: ", err)
	}
	if have := strings.TrimSpace(string(out)); version.Lang(have) != want {
		t.Skipf("testdata/table was made with %s, and this is %s: see the package comment for how to make it anew", want, have)
	}
}

// path is the fast path of a row as it is in a program.
type path struct {
	inlined      bool
	instructions int
	calls        []string // sorted, each once
}

// follow adds up the caller and the counted functions of a row.
func follow(t *testing.T, functions map[string][]instruction, r row) path {
	p := path{inlined: true}
	for _, name := range append([]string{r.caller()}, r.counted...) {
		body, ok := functions[name]
		if !ok {
			t.Errorf("%s: the program has no function %s: name in the table the function that does its work now", r, name)
			continue
		}
		p.instructions += measure(body, r.returns)
		for _, i := range body {
			if c := i.callee(); c != "" && !strings.HasPrefix(c, "runtime.morestack") {
				p.calls = append(p.calls, c)
				p.inlined = p.inlined && (name != r.caller() || !slices.Contains(r.symbols(), c))
			}
		}
	}
	slices.Sort(p.calls)
	p.calls = slices.Compact(p.calls)
	return p
}

// TestFastPaths compares each fast path with the table.
func TestFastPaths(t *testing.T) {
	rows, goVersion := readTable(t)
	skipOtherBuilds(t, goVersion)
	now := map[string]map[string][]instruction{}
	for _, arch := range architectures {
		now[arch] = disassemble(t, build(t, arch))
	}
	if *figures {
		printTable(t, rows, now)
		return
	}
	for _, arch := range architectures {
		for _, r := range rows {
			p := follow(t, now[arch], r)
			problem := func(format string, args ...any) {
				t.Errorf("%s on %s %s.\nLook at it with: GOARCH=%s go build -o /tmp/callers ./internal/fastpath/testdata/callers && go tool objdump -s '%s' /tmp/callers\n"+
					"and compare with the last commit that passed. The package comment says what the table means and how to change it.",
					r, arch, fmt.Sprintf(format, args...), arch, regexp.QuoteMeta(r.caller())+"$")
			}
			if r.inlined && !p.inlined {
				problem("is not inlined any more: -gcflags=-m=2 says what it costs the inliner")
			}
			for _, name := range p.calls {
				if r.allows(name) {
					continue
				}
				if strings.HasPrefix(name, "runtime.panic") {
					problem("has a check of bounds, or the like, that the compiler could not prove away (%s)", name)
				} else {
					problem("calls %s, which the table does not name", name)
				}
			}
			if p.instructions > r.most[arch] {
				problem("has %d instructions, and may have %d", p.instructions, r.most[arch])
			} else if p.instructions < r.most[arch] {
				t.Logf("%s on %s has only %d instructions of %d: the table can be lowered", r, arch, p.instructions, r.most[arch])
			}
		}
	}
}

// printTable prints the rows as they are now. It counts the functions that the table names.
func printTable(t *testing.T, rows []row, now map[string]map[string][]instruction) {
	for _, r := range rows {
		var calls []string
		var counts [2]int
		inlined := true
		for i, arch := range architectures {
			p := follow(t, now[arch], r)
			counts[i] = p.instructions
			inlined = inlined && p.inlined
			calls = append(calls, p.calls...)
		}
		slices.Sort(calls)
		var named []string
		for _, name := range r.counted {
			named = append(named, "+"+name)
		}
		for _, name := range slices.Compact(calls) {
			if slices.Contains(r.passed, name) {
				named = append(named, "="+name)
			}
		}
		for _, name := range slices.Compact(calls) {
			if !r.returns(name) {
				named = append(named, name)
			}
		}
		yes := map[bool]string{true: "yes", false: "no"}[inlined]
		fmt.Printf("%-8s%-20s%-8s%5d %5d %s\n", r.pkg, r.function, yes, counts[0], counts[1], strings.Join(named, " "))
	}
}
