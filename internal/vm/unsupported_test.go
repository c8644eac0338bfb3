package vm

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOutsideOtherSystems builds for systems that are not supported: one sentence says so, and nothing
// else. Those that are supported do not compile it.
func TestOutsideOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for many systems, the standard library too, which takes long")
	}
	const (
		module   = "github.com/seed-9a6c551e/offheap/"
		sentence = "# " + module + "internal/vm\n" +
			`vm/unsupported.go:8:2: "offheap runs on Linux, Android, macOS, iOS, the BSDs and Solaris only" (untyped string constant) is not used` + "\n"
	)
	run := func(target string, args ...string) (out string, err error) {
		system, arch, _ := strings.Cut(target, "/")
		cmd := exec.Command("go", args...)
		cmd.Dir = ".." // what the compiler calls the file by
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
		said, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("there is no go command")
		}
		return string(said), err
	}
	for target, pkg := range map[string]string{
		"windows/amd64": "...", "js/wasm": "guard", "wasip1/wasm": "guard", "plan9/amd64": "internal/vm", "aix/ppc64": "internal/vm",
	} {
		if out, err := run(target, "build", module+pkg); err == nil || out != sentence {
			t.Errorf("%s: %v\n%s\nwant\n%s", target, err, out, sentence)
		}
	}
	for _, target := range []string{
		"linux/386", "android/arm64", "darwin/arm64", "ios/arm64", "freebsd/amd64", "netbsd/amd64", "openbsd/amd64", "dragonfly/amd64", "solaris/amd64", "illumos/amd64",
	} {
		if out, err := run(target, "list", "-f", "{{.GoFiles}}", module+"internal/vm"); err != nil || !strings.Contains(out, "calls.go") || strings.Contains(out, "unsupported.go") {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
}
