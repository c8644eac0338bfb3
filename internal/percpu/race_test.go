//go:build race

package percpu

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/race"
)

// TestRacesAreReported has two goroutines write to the same word in their pinned sections, in a process of
// its own. The detector reports that if they use different caches, and does not if they take turns on one.
func TestRacesAreReported(t *testing.T) {
	const mark = "OFFHEAP_TEST_PERCPU_RACE"
	if name := os.Getenv(mark); name != "" {
		plant(name == "two caches")
		return
	}
	for name, want := range map[string]bool{"one cache": false, "two caches": true} {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestRacesAreReported$")
			c.Env = append(os.Environ(), mark+"="+name)
			out, err := c.CombinedOutput()
			if got := strings.Contains(string(out), "DATA RACE"); got != want || got != (err != nil) {
				t.Errorf("a race is reported: %v, want %v: %v\n%s", got, want, err, out)
			}
		})
	}
}

// plant writes to a word on two goroutines, one after the other. Nothing that the detector knows of says
// so, but their caches.
func plant(two bool) {
	runtime.GOMAXPROCS(1)
	var table Table[counter]
	use(&table)
	word, begun, done := 0, make(chan struct{}), make(chan struct{})
	write := func() {
		c := Pin(&table)
		word++
		Unpin(c)
	}
	var both sync.WaitGroup
	both.Go(func() {
		write()
		race.Unseen(func() { close(begun); <-done })
	})
	both.Go(func() {
		race.Unseen(func() { <-begun })
		if two {
			race.Unseen(func() { table.Set(0, newCounter()) }) // as if on another processor
		}
		write()
		race.Unseen(func() { close(done) })
	})
	both.Wait()
}
