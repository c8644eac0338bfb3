// Package stacktest has what the tests of package stack and of package stack/native share. Only tests
// import it.
package stacktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// inChild is set in the process that InOwnProcess starts.
const inChild = "OFFHEAP_TEST_STACK_CHILD"

// InOwnProcess runs the test again in a process of its own, and returns true in that process. The process
// that the test began in gets false; it takes over the outcome.
func InOwnProcess(t *testing.T) bool { return InOwnProcessAfter(t, "true") }

// InOwnProcessAfter is InOwnProcess that runs shell commands first.
func InOwnProcessAfter(t *testing.T, commands string) bool {
	t.Helper()
	if os.Getenv(inChild) != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", commands+` && exec "$0" -test.run="^$1$" -test.v -test.short="$2"`, os.Args[0], t.Name(), fmt.Sprint(testing.Short()))
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

// EndsSoon ends the test if f takes longer than two minutes, as it does when it hangs.
func EndsSoon(t *testing.T, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("it hangs")
	}
}

// Background runs f again and again until the test ends.
func Background(t *testing.T, f func()) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			f()
		}
	})
	t.Cleanup(func() {
		stop.Store(true)
		wg.Wait()
	})
}

// Rounds returns how often a hammer test repeats: n times, or a twentieth of it with -short.
func Rounds(n int) int {
	if testing.Short() {
		return n / 20
	}
	return n
}

// NoError ends the test at an error.
func NoError(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// PanicOf runs f and returns the error that it panics with; nil if it does not.
func PanicOf(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}

// Said returns what a violation says is wrong: its Kind, and the Detail if there is one.
func Said(v *guard.Violation) string {
	if v.Detail == "" {
		return string(v.Kind)
	}
	return string(v.Kind) + ": " + v.Detail
}

// Violates runs f, which must panic with a violation that says one of these.
func Violates(t testing.TB, what string, f func(), kinds ...string) {
	t.Helper()
	var v *guard.Violation
	err := PanicOf(f)
	if errors.As(err, &v) {
		for _, kind := range kinds {
			if Said(v) == kind {
				return
			}
		}
	}
	t.Errorf("%s: %v, want a violation of %q", what, err, kinds)
}

// SetBudget sets a budget until the test ends.
func SetBudget(t *testing.T, b guard.Budget) {
	t.Helper()
	t.Cleanup(func() { guard.SetBudget(guard.Budget{}) })
	_, err := guard.SetBudget(b)
	NoError(t, err)
}
