//go:build linux && (amd64 || arm64)

package limits

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestOutsideBuildFlags builds a program that ends by a fault, without optimisation and with coverage counters,
// and reads its report. With these flags frames are several times as large, and the linker limits the frames
// of signal handlers. The program is also linked for the other architecture that has a handler.
func TestOutsideBuildFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs, the standard library too, which takes long")
	}
	dir := t.TempDir()
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	const cover = "-coverpkg=github.com/seed-9a6c551e/offheap/..."
	for _, flags := range [][]string{
		{"-gcflags=all=-N"},
		{"-gcflags=all=-N -l"},
		{"-gcflags=all=-N -l", "-cover", "-covermode=atomic", cover},
	} {
		program := filepath.Join(dir, "fault")
		if !buildFault(t, program, runtime.GOARCH, flags) || !buildFault(t, program+"."+other, other, flags) {
			continue
		}
		for arg, want := range map[string]string{
			"fence": `^guard: overflow in region "fence": address (0x[0-9a-f]+), 1 bytes beyond the last of 9\nunexpected fault address (0x[0-9a-f]+)\n`,
			"sampled": `^guard: use after free in region "heap": address (0x[0-9a-f]+), offset 42 of 100\n` +
				`allocated at\n(?:.*\n)*main\.main\n(?:.*\n)+\nfreed at\n(?:.*\n)*main\.main\n(?:.*\n)+unexpected fault address (0x[0-9a-f]+)\n`,
			"region":   `^guard: touch of decommitted memory in region "region": address (0x[0-9a-f]+), offset 300 of 1048576\nunexpected fault address (0x[0-9a-f]+)\n`,
			"hardened": `^guard: overflow in region "heap: large object": address (0x[0-9a-f]+), 1 bytes beyond the last of 2097152\nunexpected fault address (0x[0-9a-f]+)\n`,
		} {
			cmd := exec.Command(program, arg)
			cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if said := regexp.MustCompile(want).FindSubmatch(out); !errors.As(err, &exit) || said == nil || string(said[1]) != string(said[2]) {
				t.Errorf("%s, %s: %v\n%s\nwant\n%s", strings.Join(flags, " "), arg, err, out, want)
			}
		}
	}
}

// buildFault builds the program of testdata/fault, and reports whether that worked.
func buildFault(t *testing.T, program, arch string, flags []string) bool {
	cmd := exec.Command("go", append(append([]string{"build", "-o", program}, flags...), "./testdata/fault")...)
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no go command")
	}
	if err != nil {
		t.Errorf("for %s with %s: %v\n%s", arch, strings.Join(flags, " "), err, out)
	}
	return err == nil
}
