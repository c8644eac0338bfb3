//go:build race

package slab

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// TestTwoOnOneLocalIsARace checks that the race detector sees two goroutines that use one Local, in
// a process of its own, which reports that.
func TestTwoOnOneLocalIsARace(t *testing.T) {
	const mark = "OFFHEAP_TEST_TWO_ON_ONE_LOCAL"
	if os.Getenv(mark) == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestTwoOnOneLocalIsARace$")
		c.Env = append(os.Environ(), mark+"=1")
		if out, err := c.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("DATA RACE")) {
			t.Errorf("no race was reported: %v\n%s", err, out)
		}
		return
	}
	h := open(t, Config{})
	l := h.Local()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			defer func() { _ = recover() }() // either may panic
			l.Free(l.Alloc(64, 8))
		})
	}
	both.Wait()
}
