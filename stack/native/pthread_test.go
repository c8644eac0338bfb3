package native

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestThreadsOfC runs threads of C on stacks of a pool. A thread that overflows its stack dies at the guard,
// before and after the first Call of the process.
func TestThreadsOfC(t *testing.T) {
	if testing.Short() || compiler() == nil || runtime.GOOS != "linux" {
		t.Skip("needs a C compiler, cgo and some seconds")
	}
	program := filepath.Join(t.TempDir(), "pthread")
	build := func(what ...string) ([]byte, error) {
		cmd := exec.Command("go", append([]string{"build"}, what...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		return cmd.CombinedOutput()
	}
	if out, err := build("runtime/cgo"); err != nil {
		t.Skipf("cgo does not work here: %v\n%s", err, out)
	}
	if out, err := build("-o", program, "./testdata/pthread"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "result 100\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, how := range []string{"overflow", "overflow-after-call"} {
		out, err := exec.Command(program, how).CombinedOutput()
		var lo, hi uint64
		if _, scan := fmt.Sscanf(string(out), "guard 0x%x 0x%x", &lo, &hi); scan != nil || err == nil {
			t.Fatalf("%s: %v, %v\n%s", how, scan, err, out)
		}
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSEGV {
			t.Errorf("%s: ended with %v", how, err)
		}
		at := regexp.MustCompile(`SIGSEGV at 0x([0-9a-f]+)`).FindStringSubmatch(string(out))
		if at == nil {
			t.Fatalf("%s: died otherwise: %v\n%s", how, err, out)
		}
		if addr, err := strconv.ParseUint(at[1], 16, 64); err != nil || addr < lo || addr >= hi {
			t.Errorf("%s: died at %#x, the guard is from %#x to %#x", how, addr, lo, hi)
		}
	}
}
