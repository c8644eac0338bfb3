package arena

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestUncaughtFaultEndsTheProcess touches a closed arena without Catch, in a process of its own.
func TestUncaughtFaultEndsTheProcess(t *testing.T) {
	const asked = "OFFHEAP_TEST_FAULT"
	if os.Getenv(asked) != "" {
		a, err := Open(Config{})
		if err != nil {
			t.Fatal(err)
		}
		p := New[uint64](a)
		a.Close()
		*p = 1
		fmt.Println("alive")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("the process ended with %v, want exit status 2", err)
	}
	if s := string(out); strings.Contains(s, "alive") || !strings.Contains(s, "unexpected fault address") || !strings.Contains(s, t.Name()) {
		t.Fatalf("the process should have died at the touch:\n%s", s)
	}
}
