package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// inChild is set in the process that alone starts.
const inChild = "OFFHEAP_TEST_STACK_CHILD"

// alone runs the test again in a process of its own, after some shell commands, and returns true in
// that process.
func alone(t *testing.T, first string) bool {
	t.Helper()
	if os.Getenv(inChild) != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", first+` && exec "$0" -test.run="^$1$" -test.v -test.short="$2"`, os.Args[0], t.Name(), fmt.Sprint(testing.Short()))
	cmd.Env = append(os.Environ(), inChild+"=1")
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		t.Skip(err)
	case bytes.Contains(out, []byte("Exec format error")):
		t.Skip("the test runs under an emulator and cannot start itself")
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%.1000s", out)
	case err != nil:
		t.Errorf("%v\n%.3000s", err, out)
	default:
		t.Logf("%.3000s", out)
	}
	return false
}

// within ends the test if f takes longer than some seconds, as it does when it hangs.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

// mustViolate runs f, which must panic with a violation of one of these kinds.
func mustViolate(t testing.TB, what string, f func(), kinds ...string) {
	t.Helper()
	var v *guard.Violation
	err := panicOf(f)
	if errors.As(err, &v) {
		for _, kind := range kinds {
			if v.What == kind {
				return
			}
		}
	}
	t.Errorf("%s: %v, want a violation of %q", what, err, kinds)
}
