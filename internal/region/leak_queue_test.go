package region

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestOutsideLeakedGoexit ends the goroutine that reports leaks: later ones are reported all the same.
func TestOutsideLeakedGoexit(t *testing.T) {
	var told atomic.Int32
	SetOnLeak(func(in Info) {
		if in.Name == "leaked by a test" {
			told.Add(1)
			runtime.Goexit()
		}
	})
	defer SetOnLeak(nil)
	const n = 20
	for range n {
		r, err := Reserve(Config{Name: "leaked by a test", Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		_ = r
	}
	for deadline := time.Now().Add(20 * time.Second); told.Load() < n-1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC() // the last may be in a register yet
	}
	if got := told.Load(); got < n-1 {
		t.Errorf("%d of %d leaks were reported", got, n)
	}
	closeLeaked(t)
}

// closeLeaked releases the leaked regions, so that other tests find none.
func closeLeaked(t *testing.T) {
	t.Helper()
	registry.mu.Lock()
	leaked := slices.DeleteFunc(slices.Clone(registry.records), func(r *record) bool { return r.name != "leaked by a test" })
	for _, rec := range leaked {
		removeRecord(rec)
	}
	registry.mu.Unlock()
	release(leaked)
}
