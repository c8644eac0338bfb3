//go:build race

package arena

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestRacesAreReported lets a goroutine allocate while another frees the memory, in a process of its own. The race
// detector must report that.
func TestRacesAreReported(t *testing.T) {
	const mark = "OFFHEAP_TEST_ARENA_RACE"
	races := map[string]func() (allocate, takeAway func()){
		"Arena.Reset": func() (allocate, takeAway func()) {
			a := opened(t, Config{})
			return func() { New[int](a) }, a.Reset
		},
		"Arena.Rewind": func() (allocate, takeAway func()) {
			a := opened(t, Config{})
			m := a.Mark()
			return func() { New[int](a) }, func() { a.Rewind(m) }
		},
		"Concurrent.Reset": func() (allocate, takeAway func()) {
			k := concurrent(t, Config{})
			return func() { NewIn[int](k) }, k.Reset
		},
	}
	if name := os.Getenv(mark); name != "" {
		allocate, takeAway := races[name]()
		var both sync.WaitGroup
		for _, f := range []func(){allocate, takeAway} {
			both.Go(func() {
				defer func() { _ = recover() }() // two goroutines in one arena may do any harm to each other
				f()
			})
		}
		both.Wait()
		return
	}
	for name := range races {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestRacesAreReported$")
			c.Env = append(os.Environ(), mark+"="+name)
			object, method, _ := strings.Cut(name, ".")
			if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "DATA RACE") || !strings.Contains(string(out), "(*"+object+")."+method+"()\n") {
				t.Errorf("no race with %s was reported: %v\n%s", name, err, out)
			}
		})
	}
}
