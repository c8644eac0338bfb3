package alloctest

import (
	"runtime"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// SetQuarantine bounds the quarantine to a number of bytes until the test ends.
func SetQuarantine(t testing.TB, bytes int64) {
	t.Helper()
	old, err := region.SetQuarantine(bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { region.SetQuarantine(old) })
}

// FlushQuarantine releases all regions that are in quarantine, and leaves its bound as it is.
func FlushQuarantine() {
	old, _ := region.SetQuarantine(0)
	region.SetQuarantine(old)
}

// GrowGoHeap gives the Go heap addresses for what it will need, for tests that count the addresses which are free, or leave few of
// them. The heap takes 64 MiB of addresses at a time, and may begin anywhere in the first 64.
func GrowGoHeap() {
	runtime.KeepAlive(make([]byte, 64<<20))
	runtime.GC()
}
