// Package leaftest reads the machine code of leaves: functions that call percpu.Processor and use a
// processor's cache without a pin. A test calls Check, which lets the compiler print the code (-gcflags=-S) for amd64,
// arm64 and 386, in several kinds of build, and looks at each leaf.
//
// # What a leaf must be
//
//  1. It is nosplit: it does not ask at its start whether the scheduler wants the processor.
//  2. All of it is an unsafe point, where no signal takes the goroutine off its processor. The compiler says
//     so with PCDATA $0, $-2 before the first call, and takes it back nowhere.
//  3. It calls runtime.getm once and nothing else: no slow path, no bounds check that the compiler could
//     not prove needless, no write barrier.
//
// Two kinds of build are read: a plain one, and one without inlining, with coverage counters and checks of
// pointers (-d=checkptr). In the latter each function that a leaf calls must be nosplit and an unsafe point,
// too. What panics if a bounds check fails is let pass there, since the compiler proves less.
//
// Both may call functions of sync/atomic, which are assembly that no signal interrupts: on 386 the compiler
// has no instructions of its own for them. Methods of sync/atomic are not assembly.
package leaftest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const (
	module = "github.com/seed-9a6c551e/offheap"
	percpu = module + "/internal/percpu"
)

var architectures = []string{"amd64", "arm64", "386"}

// build is a kind of build that is read.
type build struct {
	name    string
	plain   bool   // whether runtime.getm must be the only call
	cover   bool   // with coverage counters
	gcflags string // flags of the compiler, for all packages of the module
}

var (
	plain        = build{name: "plain", plain: true}
	instrumented = build{name: "without inlining, with coverage counters and checks of pointers", cover: true, gcflags: "-N -l -d=checkptr"}
)

// code builds a package and returns what the compiler made of it and of the packages that it imports.
func (b build) code(t *testing.T, arch, pkg string) Code {
	args := []string{"build", "-gcflags=" + module + "/...=-S " + b.gcflags}
	if b.cover {
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg="+module+"/...")
	}
	return Parse(run(t, arch, append(args, pkg)...))
}

// Check fails the test unless the functions of a package are leaves. pkg is the package's path, or a folder
// that begins with "./". Functions are named as the compiler does, without the package: "count",
// "(*Heap).allocFast". Check skips the test where the leaves of this version of Go pin.
//
// Cost: it builds the package six times, which takes a minute or less, until the build cache has the results.
// With -short it reads amd64 alone.
func Check(t *testing.T, pkg string, functions ...string) {
	t.Helper()
	check(t, pkg, functions, 1)
}

// CheckGiven is Check for leaves that are given their cache: they call nothing, not even runtime.getm.
func CheckGiven(t *testing.T, pkg string, functions ...string) {
	t.Helper()
	check(t, pkg, functions, 0)
}

func check(t *testing.T, pkg string, functions []string, getm int) {
	t.Helper()
	for _, arch := range architectures {
		if testing.Short() && arch != "amd64" {
			continue
		}
		if files := run(t, arch, "list", "-f", "{{.GoFiles}}", percpu); !strings.Contains(files, "leaf.go") {
			t.Skipf("with this version of Go the leaves pin on %s", arch)
		}
		path := strings.TrimSpace(run(t, arch, "list", pkg))
		for _, build := range []build{plain, instrumented} {
			code := build.code(t, arch, pkg)
			for _, f := range functions {
				for _, fault := range code.Faults(path+"."+f, getm, build.plain) {
					t.Errorf("%s, built %s: %s", arch, build.name, strings.ReplaceAll(fault, path+".", ""))
				}
			}
		}
	}
}

// run runs a go command for an architecture and returns what it prints.
func run(t *testing.T, arch string, args ...string) string {
	c := exec.Command("go", args...)
	// GOFLAGS may ask for the race detector or the pin, which have no leaves.
	c.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return string(out)
}

// Code is what the compiler printed, by the name of the function.
type Code map[string]*function

type function struct {
	nosplit bool
	calls   []string // the functions called, in the order of the code; "indirect" if that is not said
	unsafe  bool     // whether all is, from before the first call on
}

var header = regexp.MustCompile(`^(\S.*) STEXT (.*)size=`)

// Parse reads what go build -gcflags=-S prints.
func Parse(printed string) Code {
	code := Code{}
	f := new(function)
	for line := range strings.Lines(printed) {
		line = strings.TrimRight(line, "\n")
		if h := header.FindStringSubmatch(line); h != nil {
			f = &function{nosplit: strings.Contains(" "+h[2], " nosplit ")}
			code[h[1]] = f
			continue
		}
		column := strings.Split(line, "\t") // "", position, operation, operands
		if len(column) < 3 || column[0] != "" {
			continue
		}
		operands := strings.Join(column[3:], " ")
		name, direct := strings.CutSuffix(operands, "(SB)")
		switch operation := column[2]; {
		case operation == "PCDATA" && strings.HasPrefix(operands, "$0, "):
			f.unsafe = operands == "$0, $-2" && (f.unsafe || len(f.calls) == 0)
		case operation == "CALL" && !direct:
			f.calls = append(f.calls, "indirect")
		case operation == "CALL", direct && (operation == "JMP" || operation == "RET"):
			f.calls = append(f.calls, name)
		}
	}
	return code
}

// assembly are the functions of sync/atomic that are no methods.
var assembly = regexp.MustCompile(`^sync/atomic\.\w+$`)

// panics are the functions that a check calls which the compiler could not prove needless.
var panics = regexp.MustCompile(`^runtime\.panic(Bounds|Index|Slice|divide|shift)`)

// Faults returns why a function is no leaf that calls runtime.getm so many times. In a plain build it must
// call nothing else.
func (c Code) Faults(name string, getm int, plain bool) (faults []string) {
	within := map[string]bool{} // the functions that lead here
	calls := 0
	var visit func(name string)
	visit = func(name string) {
		f := c[name]
		if f == nil {
			faults = append(faults, "the module has no "+name)
			return
		}
		if !f.nosplit {
			faults = append(faults, name+" is not nosplit")
		}
		if !f.unsafe {
			faults = append(faults, name+" has safe points")
		}
		within[name] = true
		defer delete(within, name)
		for _, callee := range f.calls {
			switch {
			case callee == "runtime.getm":
				calls++
			case assembly.MatchString(callee), within[callee], !plain && panics.MatchString(callee):
			case plain:
				faults = append(faults, name+" calls "+callee)
			default:
				visit(callee)
			}
		}
	}
	visit(name)
	if calls != getm {
		faults = append(faults, fmt.Sprintf("%s calls runtime.getm %d times, not %d", name, calls, getm))
	}
	return faults
}
